/** Request bodies as text and JSON: bounded while they are read, because a chunked body does not say how long it is. */
import { TunnelError } from "@trunkline/protocol"

/** Bytes, unless a route takes more: a heartbeat with its labels. */
const usualBytesMax = 16_384

/** The body as a JSON object. An empty body is an empty object. */
export async function readJsonObject(request: Request, bytesMax = usualBytesMax): Promise<Readonly<Record<string, unknown>>> {
  const text = await readText(request, bytesMax)
  if (text === "") return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new TunnelError("bad-request", "the body is not valid JSON")
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TunnelError("bad-request", "the body must be a JSON object")
  return value as Readonly<Record<string, unknown>>
}

/** The body as UTF-8. Throws `too-large` and `bad-request`. */
export async function readText(request: Request, bytesMax: number): Promise<string> {
  if (request.body === null) return ""
  // A command with a character replaced is another command.
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false })
  let bytes = 0
  let text = ""
  // What is too long is heard out like the bodies that nobody reads.
  for await (const chunk of (request.body as ReadableStream<Uint8Array>).values({ preventCancel: true })) {
    bytes += chunk.byteLength
    if (bytes > bytesMax) throw new TunnelError("too-large", `the body is longer than ${bytesMax} bytes`)
    text += decode(decoder, chunk, true)
  }
  return text + decode(decoder, new Uint8Array(0), false)
}

function decode(decoder: TextDecoder, bytes: Uint8Array, stream: boolean): string {
  try {
    return decoder.decode(bytes, { stream })
  } catch {
    throw new TunnelError("bad-request", "the body is not UTF-8")
  }
}
