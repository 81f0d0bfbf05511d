/** Agents and clients as the gateway sees them: real sockets, with what arrived kept in order until it is asked for. */
import { env, exports } from "cloudflare:workers"
import {
  type AgentHello,
  type EndpointName,
  encodeControl,
  endpointName,
  type GatewayToAgent,
  type GatewayToClient,
  linkHeaderBytes,
  parseGatewayToAgent,
  parseGatewayToClient,
  slot,
  writeSlot,
} from "@trunkline/protocol"
import type { AgentSocket } from "../src/agent/agent-socket.ts"

export const gatewaySecret = "test-gateway-secret"
export const previousSecret = "test-previous-secret"
export const bearer = { authorization: `Bearer ${gatewaySecret}` }

interface Closed {
  readonly code: number
  readonly reason: string
}

/** One end of a WebSocket. */
class Peer<Control> {
  readonly closed: Promise<Closed>
  readonly #socket: WebSocket
  readonly #parse: (text: string) => Control
  readonly #arrived: (string | Uint8Array)[] = []
  #wake: () => void = () => {}

  constructor(socket: WebSocket, parse: (text: string) => Control) {
    this.#socket = socket
    this.#parse = parse
    socket.binaryType = "arraybuffer"
    socket.addEventListener("message", ({ data }) => {
      this.#arrived.push(typeof data === "string" ? data : new Uint8Array(data))
      this.#wake()
    })
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }))
    })
    socket.accept()
  }

  get protocol(): string | null {
    return this.#socket.protocol
  }

  send(message: string | Uint8Array): void {
    this.#socket.send(message)
  }

  close(code = 1000, reason = ""): void {
    this.#socket.close(code, reason)
  }

  /** The next message, as it is. */
  async next(): Promise<string | Uint8Array> {
    for (;;) {
      const message = this.#arrived.shift()
      if (message !== undefined) return message
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async nextControl(): Promise<Control> {
    const message = await this.next()
    if (typeof message !== "string") throw new Error(`expected control, got ${message.byteLength} bytes`)
    return this.#parse(message)
  }

  async nextData(): Promise<Uint8Array> {
    const message = await this.next()
    if (typeof message === "string") throw new Error(`expected data, got ${message}`)
    return message
  }

  /** Resolves when the gateway has handled everything sent before: pongs come back in order. */
  async settled(): Promise<void> {
    this.send("ping")
    for (;;) {
      const message = await this.next()
      if (message === "pong") return
      throw new Error(`unexpected before the pong: ${typeof message === "string" ? message : `${message.byteLength} bytes`}`)
    }
  }
}

export type Agent = Peer<GatewayToAgent>
export type Client = Peer<GatewayToClient>

/** A request to the gateway's Worker, as from outside. */
export const call = (path: string, init: RequestInit = {}): Promise<Response> =>
  exports.default.fetch(new Request(`https://gateway.test${path}`, init))

export const callJson = async (path: string, init: RequestInit = {}): Promise<{ status: number; body: unknown }> => {
  const response = await call(path, init)
  return { status: response.status, body: await response.json() }
}

/** The whole body; `text()` itself warns of every content type that does not start with "text". */
export const textOf = async (response: Response): Promise<string> => new TextDecoder().decode(await response.arrayBuffer())

/** The error of a refused call: its status and code. */
export async function refusal(response: Response): Promise<{ status: number; code: string; message: string; retryable: boolean }> {
  const { error } = (await response.json()) as { error: { code: string; message: string; retryable: boolean } }
  return { status: response.status, code: error.code, message: error.message, retryable: error.retryable }
}

export const upgrade = (path: string, headers: Record<string, string> = bearer): Promise<Response> =>
  call(path, { headers: { upgrade: "websocket", ...headers } })

export function socketOf(response: Response): WebSocket {
  if (response.webSocket === null) throw new Error(`no socket: ${response.status}`)
  return response.webSocket
}

let names = 0

/** A name no other test uses. */
export function freshName(prefix = "agent"): EndpointName {
  names += 1
  const name = endpointName(`${prefix}-${names}-${crypto.randomUUID().slice(0, 8)}`)
  if (name === undefined) throw new Error("not a name")
  return name
}

export const hello = (fields: Partial<AgentHello> = {}): string =>
  encodeControl({
    type: "hello",
    protocol: { min: 1, max: 1 },
    instance: crypto.randomUUID(),
    version: "1.2.3",
    labels: {},
    host: { hostname: "build-7.example", os: "linux", arch: "x64" },
    ...fields,
  })

/** An agent's socket before its hello. */
export const dialAgent = async (name: string, headers: Record<string, string> = bearer): Promise<Agent> =>
  new Peer(socketOf(await upgrade(`/ws/connect?name=${name}`, headers)), parseGatewayToAgent)

/** An agent that was welcomed. */
export async function connectAgent(name: string, fields: Partial<AgentHello> = {}): Promise<{ agent: Agent; generation: number }> {
  const agent = await dialAgent(name)
  agent.send(hello(fields))
  const welcome = await agent.nextControl()
  if (welcome.type !== "welcome") throw new Error(`expected a welcome, got ${welcome.type}`)
  return { agent, generation: welcome.generation }
}

/** A client with the socket of an answer. */
export const clientOf = (response: Response): Client => new Peer(socketOf(response), parseGatewayToClient)

export const openClient = async (name: string, headers: Record<string, string> = bearer): Promise<Client> =>
  clientOf(await upgrade(`/v1/agents/${name}/link`, headers))

/** A client that is told that the agent is away. */
export async function waitingClient(name: string): Promise<Client> {
  const client = await openClient(name)
  const ready = await client.nextControl()
  if (ready.type !== "ready" || ready.agent !== "away") throw new Error(`expected ready and away, got ${JSON.stringify(ready)}`)
  return client
}

/** A client that is ready, and the slot the agent was told. */
export async function connectClient(name: string, agent: Agent): Promise<{ client: Client; slot: number }> {
  const client = await openClient(name)
  const ready = await client.nextControl()
  if (ready.type !== "ready") throw new Error(`expected ready, got ${ready.type}`)
  const attached = await agent.nextControl()
  if (attached.type !== "attached") throw new Error(`expected attached, got ${attached.type}`)
  return { client, slot: attached.slot }
}

/** A link message for `to` with this text as its body. */
export function data(to: number, body: string): Uint8Array {
  const bytes = new TextEncoder().encode(body)
  const message = new Uint8Array(linkHeaderBytes + bytes.byteLength)
  writeSlot(message, slot(to))
  message.set(bytes, linkHeaderBytes)
  return message
}

export const bodyOf = (message: Uint8Array): string => new TextDecoder().decode(message.subarray(linkHeaderBytes))

export const objectOf = (name: string): DurableObjectStub<AgentSocket> => env.AGENT.get(env.AGENT.idFromName(name))

interface Listed {
  readonly endpoints: readonly {
    name: string
    status: string
    mode: string
    labels: Record<string, string>
    since: number
    lastSeen: number
    version: string
  }[]
  readonly cursor: string | null
}

export async function listing(query = ""): Promise<Listed> {
  const response = await call(`/v1/endpoints${query}`, { headers: bearer })
  if (response.status !== 200) throw new Error(`listing: ${response.status} ${await response.text()}`)
  return (await response.json()) as Listed
}

/** How the listing shows this name; undefined if it does not. */
export const listed = async (name: string): Promise<Listed["endpoints"][number] | undefined> =>
  (await listing("?limit=1000")).endpoints.find((endpoint) => endpoint.name === name)
