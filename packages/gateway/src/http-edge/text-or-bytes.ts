/** Output as JSON can hold it, exactly: text where it is UTF-8, else base64. */

export type Encoded = { readonly text: string } | { readonly base64: string }

/** One per output: a character cut between two chunks is kept for the next. */
export class TextOrBytes {
  #rest = new Uint8Array(0)

  /** Bytes kept for the next chunk: 0 to 3. */
  get restBytes(): number {
    return this.#rest.byteLength
  }

  /** What can be given out now; undefined when all of it has to wait for the next chunk. */
  push(bytes: Uint8Array): Encoded | undefined {
    const all = this.#rest.byteLength === 0 ? bytes : concat(this.#rest, bytes)
    const whole = all.byteLength - cutCharacterBytes(all)
    this.#rest = all.slice(whole)
    return encodeUnlessEmpty(all.subarray(0, whole))
  }

  /** What was kept, at the end. */
  flush(): Encoded | undefined {
    const rest = this.#rest
    this.#rest = new Uint8Array(0)
    return encodeUnlessEmpty(rest)
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export function encode(bytes: Uint8Array): Encoded {
  try {
    return { text: decoder.decode(bytes) }
  } catch {
    return { base64: base64(bytes) }
  }
}

const encodeUnlessEmpty = (bytes: Uint8Array): Encoded | undefined => (bytes.byteLength === 0 ? undefined : encode(bytes))

/** Bytes at the end that start a UTF-8 character and do not finish it: 0 to 3. */
export function cutCharacterBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.byteLength); back++) {
    const byte = bytes[bytes.byteLength - back] ?? 0
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? back : 0
  }
  return 0
}

function concat(left: Uint8Array, right: Uint8Array): Uint8Array {
  const both = new Uint8Array(left.byteLength + right.byteLength)
  both.set(left)
  both.set(right, left.byteLength)
  return both
}

function base64(bytes: Uint8Array): string {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}
