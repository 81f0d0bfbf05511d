/** HTTP/1.1 as it is on the wire: what one side of a connection reads, kept as it was written, and nothing made right. */
import { createHash } from "node:crypto"
import type { Socket } from "node:net"

export type Header = readonly [name: string, value: string]

export interface Head {
  /** Request line or status line. */
  readonly line: string
  readonly headers: readonly Header[]
}

/** `closed` and `reset` where more should have come; a body that only a close ends is `whole` with it. */
export type End = "whole" | "closed" | "reset"

export interface Body {
  readonly bytes: number
  readonly sha256: string
  readonly end: End
  readonly trailers: readonly Header[]
}

/** Where a message ends. */
export type Framing = "none" | "sized" | "chunked" | "close"

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

export const noBody: Body = { bytes: 0, sha256: sha256(Buffer.alloc(0)), end: "whole", trailers: [] }

/** Bytes; above it something is wrong that would otherwise fill memory. */
const headBytesMax = 4_194_304

/** Reads messages off a socket, one after the other, and no faster than it is asked to. */
export class MessageReader {
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer = Buffer.alloc(0)
  #end: Exclude<End, "whole"> | undefined

  constructor(socket: Socket) {
    this.#chunks = (socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  }

  /** The next head; how the connection ended where there is none. */
  async head(): Promise<Head | Exclude<End, "whole">> {
    const text = await this.#until("\r\n\r\n")
    if (text === undefined) return this.#end ?? "closed"
    const [line = "", ...fields] = text.toString("latin1").split("\r\n")
    return { line, headers: fields.map(headerOf) }
  }

  async body(framing: Framing, sizeBytes: number): Promise<Body> {
    const hash = createHash("sha256")
    let bytes = 0
    const take = async (wanted: number): Promise<boolean> => {
      for (let left = wanted; left > 0; ) {
        const piece = await this.#some(left)
        if (piece === undefined) return false
        hash.update(piece)
        bytes += piece.length
        left -= piece.length
      }
      return true
    }
    const read = (end: End, trailers: readonly Header[] = []): Body => ({ bytes, sha256: hash.digest("hex"), end, trailers })
    const over = (): Body => read(this.#end ?? "closed")
    switch (framing) {
      case "none":
        return noBody
      case "sized":
        return (await take(sizeBytes)) ? read("whole") : over()
      case "close":
        await take(Number.POSITIVE_INFINITY)
        return read(this.#end === "reset" ? "reset" : "whole")
      case "chunked":
        for (;;) {
          const size = await this.#until("\r\n")
          if (size === undefined) return over()
          const length = Number.parseInt(size.toString("latin1"), 16)
          if (length === 0) break
          if (!(await take(length)) || (await this.#until("\r\n")) === undefined) return over()
        }
        return this.#trailers(read)
    }
  }

  async #trailers(read: (end: End, trailers?: readonly Header[]) => Body): Promise<Body> {
    const trailers: Header[] = []
    for (;;) {
      const line = await this.#until("\r\n")
      if (line === undefined) return read(this.#end ?? "closed")
      if (line.length === 0) return read("whole", trailers)
      trailers.push(headerOf(line.toString("latin1")))
    }
  }

  /** How the connection ends, whatever comes before that. */
  async toEnd(): Promise<Exclude<End, "whole">> {
    while ((await this.#some(Number.POSITIVE_INFINITY)) !== undefined);
    return this.#end ?? "closed"
  }

  /** All that comes until it ends, as text. */
  async text(): Promise<string> {
    const pieces: Buffer[] = []
    for (let piece = await this.#some(headBytesMax); piece !== undefined; piece = await this.#some(headBytesMax)) pieces.push(piece)
    return Buffer.concat(pieces).toString("latin1")
  }

  async #until(mark: string): Promise<Buffer | undefined> {
    for (let from = 0; ; ) {
      const at = this.#rest.indexOf(mark, from, "latin1")
      if (at !== -1) {
        const found = this.#rest.subarray(0, at)
        this.#rest = this.#rest.subarray(at + mark.length)
        return found
      }
      if (this.#rest.length > headBytesMax) throw new Error(`no end after ${this.#rest.length} bytes`)
      from = Math.max(0, this.#rest.length - mark.length)
      const more = await this.#next()
      if (more === undefined) return undefined
      this.#rest = Buffer.concat([this.#rest, more])
    }
  }

  async #some(max: number): Promise<Buffer | undefined> {
    if (this.#rest.length === 0) this.#rest = (await this.#next()) ?? this.#rest
    if (this.#rest.length === 0) return undefined
    const piece = this.#rest.subarray(0, max)
    this.#rest = this.#rest.subarray(piece.length)
    return piece
  }

  async #next(): Promise<Buffer | undefined> {
    if (this.#end !== undefined) return undefined
    try {
      const { done, value } = await this.#chunks.next()
      if (done !== true) return value
      this.#end = "closed"
    } catch {
      this.#end = "reset"
    }
    return undefined
  }
}

/** The value without the blanks around it, which are no part of it (RFC 9112 5). A folded line has a name that begins with a blank. */
function headerOf(line: string): Header {
  if (/^[ \t]/.test(line)) return [line, ""]
  const colon = line.indexOf(":")
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "")]
}

/** The values of one name, given in lower case. */
export const valuesOf = (headers: readonly Header[], name: string): string[] =>
  headers.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value)

/** RFC 9112 6.3 for a request. */
export function requestFraming({ headers }: Head): readonly [Framing, number] {
  if (valuesOf(headers, "transfer-encoding").length > 0) return ["chunked", 0]
  const [length] = valuesOf(headers, "content-length")
  return length === undefined ? ["none", 0] : ["sized", Number(length)]
}

/** RFC 9112 6.3 for an answer. */
export function answerFraming({ headers }: Head, status: number, method: string): readonly [Framing, number] {
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return ["none", 0]
  if (valuesOf(headers, "transfer-encoding").length > 0) return ["chunked", 0]
  const [length] = valuesOf(headers, "content-length")
  return length === undefined ? ["close", 0] : ["sized", Number(length)]
}

/** A piece of a body in chunks. */
export const chunk = (bytes: Uint8Array | string): Buffer => {
  const piece = Buffer.from(bytes)
  return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")])
}
