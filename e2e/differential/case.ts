/** One row of the table: the bytes of a request, and those of its answer. */

import { createCipheriv } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import type { Header } from "./raw-http.ts"
import { chunk } from "./raw-http.ts"
import type { Script } from "./raw-service.ts"
import type { Pieces } from "./write.ts"

export interface Case {
  readonly title: string
  readonly method: string
  /** As in the request line, or `*`. */
  readonly path: string
  readonly version: "1.0" | "1.1"
  readonly headers: readonly Header[]
  /** Behind the head. */
  readonly body: () => Pieces
  readonly answer: Script
}

type Given = Partial<Omit<Case, "title" | "answer">>

/** A GET without a body unless it is said otherwise. */
export const row = (title: string, given: Given, answer: Script = sized()): Case => ({
  title,
  method: "GET",
  path: "/",
  version: "1.1",
  headers: [],
  body: () => [],
  answer,
  ...given,
})

/** A request with a body of known length. */
export const upload = (body: Uint8Array | string, given: Given = {}): Given => ({
  method: "POST",
  ...given,
  headers: [["Content-Length", String(Buffer.byteLength(body))], ...(given.headers ?? [])],
  body: () => sliced(Buffer.from(body)),
})

/** The same in chunks of so many bytes. */
export const chunkedUpload = (body: Uint8Array | string, given: Given = {}, chunkBytes?: number): Given => ({
  method: "POST",
  ...given,
  headers: [["Transfer-Encoding", "chunked"], ...(given.headers ?? [])],
  body: () => inChunks(Buffer.from(body), chunkBytes),
})

/** Much of the body comes when an answer to its head is already there. */
export const slowly = (given: Given): Given => ({
  ...given,
  async *body() {
    for await (const piece of given.body?.() ?? []) {
      yield piece
      await pause(1)
    }
  },
})

const lines = (start: string, headers: readonly Header[]): string =>
  `${[start, ...headers.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n")}`

export const requestHead = (method: string, target: string, version: string, headers: readonly Header[]): string =>
  lines(`${method} ${target} HTTP/${version}`, headers)

export interface AnswerGiven {
  readonly status?: number | string
  readonly reason?: string
  readonly headers?: readonly Header[]
  readonly body?: Uint8Array | string
}

export const answerHead = ({ status = 200, reason = "OK", headers = [] }: AnswerGiven): string =>
  lines(`HTTP/1.1 ${status} ${reason}`, headers)

/** Reads the request to its end and answers with these bytes. */
export const answering =
  (pieces: () => Pieces): Script =>
  async (exchange) => {
    await exchange.body()
    await exchange.write(pieces())
  }

export const sized = (given: AnswerGiven = {}): Script => {
  const body = Buffer.from(given.body ?? "ok")
  const length: Header = ["Content-Length", String(body.length)]
  return answering(() => [answerHead({ ...given, headers: [...(given.headers ?? []), length] }), ...sliced(body)])
}

/** Without a body, and without a word of one. */
export const bodiless = (given: AnswerGiven = {}): Script => answering(() => [answerHead(given)])

export const chunked = (given: AnswerGiven = {}, chunkBytes?: number): Script =>
  answering(() => [
    answerHead({ ...given, headers: [...(given.headers ?? []), ["Transfer-Encoding", "chunked"]] }),
    ...inChunks(Buffer.from(given.body ?? "ok"), chunkBytes),
  ])

/** The body ends with the connection. */
export const untilClose =
  (given: AnswerGiven = {}): Script =>
  async (exchange) => {
    await exchange.body()
    await exchange.write([answerHead(given), ...sliced(Buffer.from(given.body ?? "ok"))])
    exchange.socket.end()
  }

const pieceBytes = 65_536

export function* sliced(body: Buffer, bytes = pieceBytes): Generator<Buffer> {
  for (let at = 0; at < body.length; at += bytes) yield body.subarray(at, at + bytes)
}

function* inChunks(body: Buffer, bytes = pieceBytes): Generator<Buffer> {
  for (const piece of sliced(body, bytes)) yield chunk(piece)
  yield Buffer.from("0\r\n\r\n")
}

/** Bytes that nothing compresses, the same in every run. */
export function noise(bytes: number): Buffer {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16, 2))
  return cipher.update(Buffer.alloc(bytes))
}
