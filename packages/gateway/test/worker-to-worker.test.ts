/** The entrypoint for other Workers: HTTP, WebSockets and TCP to agents over a service binding. */
import { exports } from "cloudflare:workers"
import { checkBody, type StreamTarget, TunnelError, tcpOpenSchema } from "@trunkline/protocol"
import { beforeEach, describe, expect, test } from "vitest"
import { socketOf } from "./peers.ts"
import { Service } from "./service.ts"

let service: Service
beforeEach(async () => {
  service = await Service.start()
})

/** As a binding with these props. */
const bound = (props: Parameters<typeof exports.Agents>[0]["props"]) => exports.Agents({ props })
const agents = () => bound({})

const codeOf = (response: Response) => [response.status, response.headers.get("trunkline-error")]

describe("fetch", () => {
  test.each([
    ["PORT--NAME with any domain behind it", (name: string) => `3000--${name}.any.example`, (host: string) => host],
    ["NAME:PORT", (name: string) => `${name}:3000`, () => "localhost:3000"],
  ])("finds the service by %s, without a credential, and leaves the caller's headers", async (_title, hostOf, seen) => {
    const host = hostOf(service.name)
    const headers = { authorization: "Bearer of-the-service", "x-forwarded-for": "1.2.3.4", host: "www.example.com" }
    const fetched = agents().fetch(`http://${host}/path?q=1`, { headers })
    const [response, exchange] = await Promise.all([fetched, service.answer("from the service")])
    expect(await response.text()).toBe("from the service")
    expect(exchange.open).toMatchObject({ target: { service: 3000 }, path: "/path?q=1" })
    expect(Object.fromEntries(exchange.open.headers)).toMatchObject({
      host: seen(host),
      authorization: "Bearer of-the-service",
      "x-forwarded-for": "1.2.3.4",
      "x-forwarded-host": "www.example.com",
    })
  })

  test("carries a WebSocket", async () => {
    const fetched = agents().fetch(`http://${service.name}:3000/socket`, { headers: { upgrade: "websocket" } })
    const [response, socket] = await Promise.all([fetched, service.socket().then((offered) => offered.head(101))])
    const client = socketOf(response)
    client.accept()
    client.send("hello")
    expect(await socket.next()).toBe("hello")
  })

  test("answers with a failure where it cannot", async () => {
    expect(codeOf(await agents().fetch("http://nobody-is-here:80/"))).toEqual([404, "agent-unknown"])
    expect(codeOf(await agents().fetch("http://Not_A_Name.example/"))).toEqual([404, "not-found"])
  })

  test("is for the agents that the binding names", async () => {
    expect(codeOf(await bound({ agents: ["build-*", "other"] }).fetch(`http://${service.name}:3000/`))).toEqual([403, "denied"])
    const [response] = await Promise.all([bound({ agents: ["x", "svc-*"] }).fetch(`http://${service.name}:3000/`), service.answer()])
    expect(response.status).toBe(200)
  })
})

describe("connect", () => {
  /** The next TCP connection at the agent, as it is opened. */
  const offered = async (target: StreamTarget) => {
    const { kind, open, stream } = await service.machine.nextOffer()
    expect([kind, checkBody(tcpOpenSchema, open).target]).toEqual(["tcp", target])
    return stream
  }

  test("carries bytes both ways, each way with an end of its own", async () => {
    const socket = agents().connect(`${service.name}:5432`)
    const stream = await offered({ host: "localhost", port: 5432 })
    const received: string[] = []
    const ended = new Promise<void>((resolve) => {
      stream.accept(
        { address: "127.0.0.1" },
        {
          data: (_tag, bytes, cost) => {
            received.push(new TextDecoder().decode(bytes))
            stream.consumed(cost)
          },
          finished: () => resolve(),
          closed: () => {},
        },
      )
    })
    const writer = socket.writable.getWriter()
    await writer.write(new TextEncoder().encode("question"))
    await writer.close()
    await ended
    expect(received.join("")).toBe("question")
    stream.write(0, new TextEncoder().encode("answer"))
    stream.finish()
    expect(await new Response(socket.readable).text()).toBe("answer")
  })

  test("that the agent refuses ends without a byte", async () => {
    const socket = agents().connect(`${service.name}:5432`)
    const stream = await offered({ host: "localhost", port: 5432 })
    stream.reset(new TunnelError("service-refused", "nothing listens"))
    expect(await new Response(socket.readable).text()).toBe("")
  })

  test("to what is no NAME:PORT, or not for the binding, ends without a byte", async () => {
    expect(await new Response(agents().connect("Not_A_Name:1").readable).text()).toBe("")
    expect(await new Response(bound({ agents: ["other"] }).connect(`${service.name}:1`).readable).text()).toBe("")
  })
})
