/** Services that break off, in every phase of an answer, and those that answer before they have read. */
import { once } from "node:events"
import { setTimeout as pause } from "node:timers/promises"
import { answerHead, type Case, chunkedUpload, noise, row, slowly, upload } from "./case.ts"
import type { Header } from "./raw-http.ts"
import type { Exchange } from "./raw-service.ts"

const ends: Readonly<Record<"closes" | "resets", (exchange: Exchange) => unknown>> = {
  closes: ({ socket }) => socket.end(),
  resets: async ({ socket }) => {
    // A reset takes back what has not been read: what was said is to be there first.
    await pause(20)
    socket.resetAndDestroy()
  },
}

const length: Header = ["Content-Length", "100000"]
const inChunks: Header = ["Transfer-Encoding", "chunked"]

const phases: readonly (readonly [string, string])[] = [
  ["without a word", ""],
  ["in the status line", "HTTP/1.1 20"],
  ["in a header", "HTTP/1.1 200 OK\r\nX-Half: a"],
  ["before the end of the head", "HTTP/1.1 200 OK\r\nX-Whole: a\r\n"],
  ["behind an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"],
  ["behind the head of a sized body", answerHead({ headers: [length] })],
  ["in a sized body", `${answerHead({ headers: [length] })}${"x".repeat(50_000)}`],
  ["one byte before the end of a sized body", `${answerHead({ headers: [length] })}${"x".repeat(99_999)}`],
  ["behind the head of a body in chunks", answerHead({ headers: [inChunks] })],
  ["behind a chunk", `${answerHead({ headers: [inChunks] })}3\r\nabc\r\n`],
  ["in a chunk", `${answerHead({ headers: [inChunks] })}ff\r\nabc`],
  ["in the size of a chunk", `${answerHead({ headers: [inChunks] })}3\r\nabc\r\n1`],
  ["in the last chunk", `${answerHead({ headers: [inChunks] })}3\r\nabc\r\n0\r\n`],
]

const broken: readonly Case[] = phases.flatMap(([phase, said]) =>
  Object.entries(ends).map(([how, end]) =>
    row(`a service that ${how} ${phase}`, {}, async (exchange) => {
      await exchange.body()
      await exchange.write([said])
      await end(exchange)
    }),
  ),
)

const others: readonly Case[] = [
  row("a service that resets a body that the close would end", {}, async (exchange) => {
    await exchange.body()
    await exchange.write([answerHead({}), "abc"])
    await ends.resets(exchange)
  }),
  row("a service that closes behind a POST", upload("some body"), async (exchange) => {
    await exchange.body()
    exchange.socket.end()
  }),
  row("a chunk's size that is none", {}, async (exchange) => {
    await exchange.body()
    await exchange.write([answerHead({ headers: [inChunks] }), "3\r\nabc\r\n"])
    await pause(20)
    await exchange.write(["zz\r\n"])
    exchange.socket.end()
  }),
]

/** How much of it the service sees is nobody's business. */
const large = noise(2_000_000)

const answer = (close: boolean): string =>
  answerHead({ status: 413, reason: "Too Large", headers: [["Content-Length", "8"], ...(close ? [["Connection", "close"] as const] : [])] })

export const earlyCases: readonly Case[] = [
  row("and go on reading", slowly(upload(large)), async (exchange) => {
    await exchange.write([answer(false), "too much"])
    await exchange.body()
  }),
  row("and close when they have read", slowly(upload(large)), async (exchange) => {
    await exchange.write([answer(true), "too much"])
    await exchange.body()
    exchange.socket.end()
  }),
  row("and close for writing", slowly(upload(large)), async (exchange) => {
    await exchange.write([answer(true), "too much"])
    exchange.socket.end()
    await exchange.body()
  }),
  row("while they read", slowly(upload(large)), async (exchange) => {
    const body = exchange.body()
    await exchange.write([answerHead({ headers: [["Content-Length", "9"]] }), "begin"])
    await body
    await exchange.write([" end"])
  }),
  row("without a body of their own", slowly(upload(large)), async (exchange) => {
    await exchange.write([answerHead({ status: 303, reason: "See Other", headers: [["Content-Length", "0"]] })])
    await exchange.body()
  }),
  row("in chunks", slowly(chunkedUpload(large)), async (exchange) => {
    await exchange.write([answerHead({ headers: [["Transfer-Encoding", "chunked"]] }), "3\r\nall\r\n0\r\n\r\n"])
    await exchange.body()
  }),
]

const endless = (title: string, ...pieces: readonly string[]): Case =>
  row(title, { ...upload("0123456789"), body: never }, async (exchange) => {
    await exchange.write(pieces)
    exchange.socket.end()
    await exchange.body()
  })

/** Clients that have begun to send and then wait. */
export const endlessCases: readonly Case[] = [
  endless("to a body that has only begun", answer(true), "too much"),
  endless(
    "without a body of their own to one that has only begun",
    answerHead({
      status: 303,
      reason: "See Other",
      headers: [
        ["Content-Length", "0"],
        ["Connection", "close"],
      ],
    }),
  ),
  endless(
    "in chunks to one that has only begun",
    answerHead({
      headers: [
        ["Transfer-Encoding", "chunked"],
        ["Connection", "close"],
      ],
    }),
    "3\r\nall\r\n0\r\n\r\n",
  ),
]

/** Some of a body, and no more. */
async function* never(): AsyncGenerator<string> {
  yield "0123"
  await once(process, "exit")
}

export const brokenCases: readonly Case[] = [...broken, ...others]
