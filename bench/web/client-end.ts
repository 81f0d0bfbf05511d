/** A client of services at the agent: stock HTTP through the gateway's edge, the SDK, and for comparison straight to the service. */
import { Agent as HttpAgent, request } from "node:http"
import { connect as connectTcp } from "node:net"
import { type Agent, connect } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { firstBytes } from "../first-bytes.ts"
import { serveEnd } from "../serve-end.ts"
import { pieces, stampBytes } from "./pieces.ts"

/** `url` with the headers that open it; `through: "sdk"` is asked with `agent.fetch`, where hosts are the agent's. */
export interface Place {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly through: "fetch" | "sdk"
}

let agent: Agent | undefined
const stalled: { readonly reader: ReadableStreamDefaultReader<Uint8Array>; readonly stop: AbortController }[] = []

const agentNow = (): Agent => {
  if (agent === undefined) throw new Error("the client is not connected")
  return agent
}

async function bodyOf({ url, headers, through }: Place, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  const options = { headers, ...(signal === undefined ? {} : { signal }) }
  const { ok, status, body } = through === "sdk" ? await agentNow().fetch(url, options) : await fetch(url, options)
  if (!ok || body === null) throw new Error(`${url} answers ${status}`)
  return body
}

/** The readable half of one connection that was asked for so many bytes. */
async function tcpSource(port: number, bytes: number, direct: boolean): Promise<AsyncIterable<Uint8Array>> {
  const asked = Buffer.alloc(8)
  asked.writeDoubleLE(bytes)
  if (direct) {
    const socket = connectTcp(port, "127.0.0.1")
    socket.write(asked)
    return socket
  }
  const { readable, writable } = await agentNow().connect({ port })
  const writer = writable.getWriter()
  await writer.write(asked)
  await writer.close()
  return readable
}

const tasks = {
  async connect({ gateway, secret }: { gateway: string; secret: string }): Promise<void> {
    agent = connect({ url: gateway, token: secret, dial: dialNode, idleMs: 3_600_000 }).agent("measured")
    await agent.exec(["true"])
  },

  /** Microseconds to the first byte of each request. */
  firstBytes: ({ place, count, warmup }: { place: Place; count: number; warmup: number }): Promise<number[]> =>
    firstBytes(place.url, place.headers, count, warmup),

  /** Milliseconds from the writing of each piece to its being here. */
  async pieces({ place }: { place: Place }): Promise<number[]> {
    const delaysMs: number[] = []
    const decoder = new TextDecoder()
    let text = ""
    for await (const bytes of await bodyOf(place)) {
      const now = process.hrtime.bigint()
      text += decoder.decode(bytes, { stream: true })
      const lines = text.split("\n\n")
      text = lines.pop() ?? ""
      for (const line of lines) delaysMs.push(Number(now - BigInt(line.slice(-stampBytes).trim())) / 1e6)
    }
    if (delaysMs.length !== pieces) throw new Error(`${delaysMs.length} of ${pieces} pieces came`)
    return delaysMs
  },

  /** Milliseconds that the last `bytes` over so many connections took, after `warmupBytes`. */
  async tcp(options: { port: number; direct: boolean; streams: number; bytes: number; warmupBytes: number }): Promise<number> {
    const { port, direct, streams, bytes, warmupBytes } = options
    let received = 0
    let startMs = 0
    const each = async (): Promise<void> => {
      for await (const chunk of await tcpSource(port, (bytes + warmupBytes) / streams, direct)) {
        const before = received
        received += chunk.byteLength
        if (before < warmupBytes && received >= warmupBytes) startMs = performance.now()
      }
    }
    await Promise.all(Array.from({ length: streams }, each))
    if (received !== bytes + warmupBytes) throw new Error(`${received} bytes arrived`)
    return performance.now() - startMs
  },

  /** Begins a download, reads one piece of it and no more. */
  async stall({ place }: { place: Place }): Promise<void> {
    const stop = new AbortController()
    const reader = (await bodyOf(place, stop.signal)).getReader()
    await reader.read()
    stalled.push({ reader, stop })
  },

  async leave(_: undefined): Promise<void> {
    for (const { reader, stop } of stalled.splice(0)) {
      reader.closed.catch(() => {})
      stop.abort()
    }
  },

  /** Reads a whole download. */
  async download({ place }: { place: Place }): Promise<void> {
    for await (const _ of await bodyOf(place));
  },

  /** Microseconds of each answer to so many clients that ask all the time, each on a connection of its own, and how many answers were not what they should be. */
  async crowd({ place, clients, each }: { place: Place; clients: number; each: number }): Promise<{ samplesUs: number[]; errors: number }> {
    const samplesUs: number[] = []
    let errors = 0
    const ask = (connection: HttpAgent): Promise<void> =>
      new Promise((resolve) => {
        const startMs = performance.now()
        const failed = (): void => {
          errors += 1
          resolve()
        }
        request(place.url, { agent: connection, headers: place.headers }, (response) => {
          let text = ""
          response.setEncoding("utf8")
          response.on("data", (chunk: string) => {
            text += chunk
          })
          response.once("error", failed)
          response.once("end", () => {
            if (response.statusCode !== 200 || text !== "served") return failed()
            samplesUs.push((performance.now() - startMs) * 1_000)
            resolve()
          })
        })
          .once("error", failed)
          .end()
      })
    const client = async (): Promise<void> => {
      const connection = new HttpAgent({ keepAlive: true, maxSockets: 1 })
      for (let count = 0; count < each; count++) await ask(connection)
      connection.destroy()
    }
    await Promise.all(Array.from({ length: clients }, client))
    return { samplesUs, errors }
  },
}

export type WebClientTasks = typeof tasks
serveEnd(tasks)
