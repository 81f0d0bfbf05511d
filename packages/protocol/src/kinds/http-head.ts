/** The head of an answer on its way through a stream: a line of JSON, however the frames cut it (SPEC KH4), and what of a head is sent on (KH5). */
import { encodeJson, InvalidBody, parseJson } from "../wire/json.ts"
import { type HeaderList, type HttpHead, httpHeadJsonBytesMax, httpHeadSchema } from "./http.ts"

const lineFeed = 0x0a

/** JSON has no line feed of its own here. */
export function encodeHead({ status, statusText, headers }: HttpHead): Uint8Array {
  const json = encodeJson({ status, statusText, headers })
  const line = new Uint8Array(json.byteLength + 1)
  line.set(json)
  line[json.byteLength] = lineFeed
  return line
}

export class HeadReader {
  readonly #parts: Uint8Array[] = []
  #bytes = 0
  #whole = false

  /** The head, once it is whole. Throws InvalidBody. */
  push(bytes: Uint8Array): HttpHead | undefined {
    const end = bytes.indexOf(lineFeed)
    if (this.#whole || (end !== -1 && end !== bytes.byteLength - 1)) throw new InvalidBody("bytes behind the head")
    this.#parts.push(bytes)
    this.#bytes += bytes.byteLength
    if (this.#bytes > httpHeadJsonBytesMax) throw new InvalidBody(`a head of more than ${httpHeadJsonBytesMax} bytes`)
    if (end === -1) return undefined
    this.#whole = true
    const line = new Uint8Array(this.#bytes)
    let at = 0
    for (const part of this.#parts.splice(0)) {
      line.set(part, at)
      at += part.byteLength
    }
    return parseJson(httpHeadSchema, line)
  }
}

/** RFC 9110 7.6.1. */
const hopByHop: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** Where a message goes and where it ends: taken away, one request could be read as two. */
const kept: ReadonlySet<string> = new Set(["host", "content-length"])

/** Without those that are about one connection, and without those that `Connection` names as such. */
export function endToEndHeaders(headers: HeaderList): HeaderList {
  const named = headers
    .filter(([name]) => name.toLowerCase() === "connection")
    .flatMap(([, value]) => value.split(","))
    .map((name) => name.trim().toLowerCase())
    .filter((name) => !kept.has(name))
  const dropped = named.length === 0 ? hopByHop : new Set([...hopByHop, ...named])
  return headers.filter(([name]) => !dropped.has(name.toLowerCase()))
}
