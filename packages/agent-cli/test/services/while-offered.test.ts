/** A client that leaves before it has its answer ends what is done for it, whatever it asked for. */
import { systemClock } from "@trunkline/client/runtime"
import { type MuxStream, TunnelError } from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { describe, expect, onTestFinished, test } from "vitest"
import { HttpServices } from "../../src/services/http.ts"
import { serveTcp } from "../../src/services/tcp.ts"
import { serveWebSocket } from "../../src/services/websocket.ts"
import { whileOffered } from "../../src/services/while-offered.ts"
import { OwnerPolicy } from "../../src/targets/owner-policy.ts"
import { connected } from "../agent/memory-line.ts"
import { StoppedServer } from "./stopped-server.ts"

type Serve = (stream: MuxStream, body: unknown) => Promise<void>

/** A stream that was asked for and is being served: the client's end, and how the serving ends. */
interface Asking {
  readonly agent: AgentEnd
  readonly stream: MuxStream
  readonly ended: Promise<unknown>
}

async function asking(body: unknown, serve: Serve): Promise<Asking> {
  const { promise, resolve } = Promise.withResolvers<Promise<unknown>[]>()
  const agent = new AgentEnd(() => ({
    link: { clock: systemClock },
    offered: (stream, asked) =>
      resolve([
        serve(stream, asked).then(
          () => "served",
          (error: unknown) => error,
        ),
      ]),
  }))
  const client = new ClientEnd({ link: { clock: systemClock } })
  connected(client, agent)
  const stream = client.mux.open("tcp", body, { data() {}, closed() {} })
  const [ended = Promise.resolve()] = await promise
  return { agent, stream, ended }
}

const left = { code: "aborted" }
const leave = new TunnelError("aborted", "enough")

describe.runIf(process.platform === "linux")("while a service does not take the connection", () => {
  const request = (target: object) => ({ target, path: "/", headers: [] })
  const policy = new OwnerPolicy()
  test.each<[string, (target: object) => unknown, Serve]>([
    ["tcp", (target) => ({ target }), (stream, body) => serveTcp(stream, body, policy)],
    ["http", (target) => ({ ...request(target), method: "GET" }), (stream, body) => new HttpServices().serve(stream, body, policy)],
    ["websocket", request, (stream, body) => serveWebSocket(stream, body, policy)],
  ])("[KT3] %s: the attempt ends with the client", async (_, bodyFor, serve) => {
    const stopped = await StoppedServer.start()
    onTestFinished(() => stopped.end())
    const { stream, ended } = await asking(bodyFor(stopped.target), serve)
    stream.reset(leave)
    expect(await ended).toMatchObject(left)
  })
})

describe("work for a stream", () => {
  const endless = (signal: AbortSignal) => new Promise<void>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))

  test("ends when the client resets it, and when its link is lost", async () => {
    const reset = await asking({}, (stream) => whileOffered(stream, endless))
    reset.stream.reset(leave)
    expect(await reset.ended).toMatchObject(left)
    const lost = await asking({}, (stream) => whileOffered(stream, endless))
    for (const { mux } of lost.agent.links.values()) mux.link.end(leave)
    expect(await lost.ended).toMatchObject(left)
  })

  test("is not begun for a client that has left already", async () => {
    let begun = false
    const { stream, ended } = await asking({}, async (offered) => {
      await new Promise<void>((resolve) => {
        offered.abandoned = resolve
      })
      await whileOffered(offered, async () => {
        begun = true
      })
    })
    stream.reset(leave)
    expect([await ended, begun]).toMatchObject([left, false])
  })

  test("that is done is not told of the end any more", async () => {
    const { ended } = await asking({}, async (offered) => {
      const signal = await whileOffered(offered, async (given) => given)
      offered.reject(leave)
      if (signal.aborted) throw new Error("told")
    })
    expect(await ended).toBe("served")
  })
})
