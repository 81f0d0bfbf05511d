/** Header values: the runtime reads and writes them as UTF-8, the wire carries bytes, one character each. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is what ASCII is.
const ascii = /^[\x00-\x7f]*$/
const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** The bytes that the runtime has read as this text. What was no UTF-8 it has replaced already. */
export const bytesOfText = (text: string): string =>
  ascii.test(text) ? text : Array.from(encoder.encode(text), (byte) => String.fromCharCode(byte)).join("")

/** The text that the runtime writes as these bytes. Bytes that are no UTF-8 it cannot write: they are taken for Latin-1. */
export function textOfBytes(bytes: string): string {
  if (ascii.test(bytes)) return bytes
  try {
    return decoder.decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)))
  } catch {
    return bytes
  }
}
