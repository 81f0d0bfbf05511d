/** Clients that leave, in every phase of a request: what the client has written and read by then, and what the service does meanwhile. */
import { setTimeout as pause } from "node:timers/promises"
import { answerHead, noise } from "./case.ts"
import { chunk, type Header } from "./raw-http.ts"
import type { Exchange } from "./raw-service.ts"

export interface Abort {
  readonly title: string
  readonly method: string
  readonly headers: readonly Header[]
  /** Behind the head. */
  readonly body: string | Uint8Array
  /** What the service does, from the moment the head is there. Resolves when it has learnt that its client is gone. */
  readonly service: (exchange: Exchange) => Promise<unknown>
  /** Bytes of the answer's body that the client reads before it leaves; undefined when it waits for no answer. */
  readonly readsBytes?: number
  /** Where the service is silent and the client is not expected to speak: what the service could say next, the last again and again. */
  readonly next?: readonly (string | Uint8Array)[]
}

const post = (headers: readonly Header[]): Pick<Abort, "method" | "headers"> => ({ method: "POST", headers })
const get: Pick<Abort, "method" | "headers" | "body"> = { method: "GET", headers: [], body: "" }
const length: Header = ["Content-Length", "1000000"]
const inChunks: Header = ["Transfer-Encoding", "chunked"]

/** Resolves when the body has broken off; rejects for one that looks whole. */
async function brokenBody(exchange: Exchange): Promise<void> {
  const { end, bytes } = await exchange.body()
  if (end === "whole") throw new Error(`a whole body of ${bytes} bytes`)
}

const waiting = (exchange: Exchange): Promise<unknown> => exchange.left()

/** Answers with a head and goes on until nobody takes it. */
const endless = (headers: readonly Header[], piece: Uint8Array) => async (exchange: Exchange) => {
  const left = exchange.left()
  await exchange.write([answerHead({ headers })])
  await say(exchange, [piece], left)
}

/** Says this, the last of it until the client is known to have left. */
export async function say(exchange: Exchange, pieces: Abort["next"] = [], left: Promise<unknown> = exchange.left()): Promise<void> {
  const gone = left.then(() => true)
  const last = pieces.at(-1) ?? ""
  await exchange.write(pieces.slice(0, -1))
  // A socket that is gone takes everything and says so later.
  while (!(await Promise.race([gone, exchange.write([last]).then(() => pause(1, false))])));
}

const silent =
  (...said: readonly (string | Uint8Array)[]) =>
  async (exchange: Exchange) => {
    await exchange.write(said)
    return exchange.left()
  }

export const aborts: readonly Abort[] = [
  { title: "in a sized upload", ...post([length]), body: "some of it", service: brokenBody },
  { title: "in a large sized upload", ...post([length]), body: noise(900_000), service: brokenBody },
  { title: "before the first byte of an upload", ...post([length]), body: "", service: brokenBody },
  { title: "in an upload in chunks", ...post([inChunks]), body: chunk("some of it"), service: brokenBody },
  { title: "in a chunk", ...post([inChunks]), body: "ff\r\nsome of it", service: brokenBody },
  { title: "before the last chunk's end", ...post([inChunks]), body: "3\r\nabc\r\n0\r\n", service: brokenBody },
  { title: "before the answer to a GET", ...get, service: waiting, next: [answerHead({ headers: [inChunks] }), chunk("abc")] },
  {
    title: "before the answer to a POST",
    ...post([["Content-Length", "3"]]),
    body: "abc",
    service: waiting,
    next: [answerHead({}), "abc"],
  },
  { title: "behind the head of a sized answer", ...get, service: silent(answerHead({ headers: [length] })), readsBytes: 0, next: ["abc"] },
  { title: "in a sized answer", ...get, service: silent(answerHead({ headers: [length] }), "abc"), readsBytes: 3, next: ["abc"] },
  { title: "behind the head of chunks", ...get, service: silent(answerHead({ headers: [inChunks] })), readsBytes: 0, next: [chunk("abc")] },
  { title: "in chunks", ...get, service: silent(answerHead({ headers: [inChunks] }), chunk("abc")), readsBytes: 3, next: [chunk("abc")] },
  { title: "in an answer to the close", ...get, service: silent(answerHead({}), "abc"), readsBytes: 3, next: ["abc"] },
  {
    title: "in an event stream",
    ...get,
    service: silent(answerHead({ headers: [["Content-Type", "text/event-stream"], inChunks] }), chunk("data: 1\n\n")),
    readsBytes: 9,
    next: [chunk("data: 2\n\n")],
  },
  { title: "in a fast download", ...get, service: endless([["Content-Length", "1000000000000"]], noise(65_536)), readsBytes: 1_000_000 },
  { title: "in fast chunks", ...get, service: endless([inChunks], chunk(noise(65_536))), readsBytes: 1_000_000 },
  { title: "in slow chunks", ...get, service: endless([inChunks], chunk("tick\n")), readsBytes: 20 },
  {
    title: "in both bodies",
    ...post([inChunks]),
    body: chunk("some of it"),
    service: async (exchange) => {
      await exchange.write([answerHead({ headers: [inChunks] }), chunk("abc")])
      await brokenBody(exchange)
    },
    readsBytes: 3,
  },
]
