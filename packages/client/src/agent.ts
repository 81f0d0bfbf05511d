/** One agent, by name: a handle that costs nothing until it is used. All its calls share one link. */
import type { Clock, ListenAddress } from "@trunkline/protocol"
import type { Dial } from "./dial.ts"
import { type Command, type ExecOptions, type ExecResult, exec, execOpen, type SpawnOptions } from "./exec.ts"
import { type FetchOptions, tunnelFetch } from "./fetch.ts"
import { type HttpAnswer, type HttpRequest, requestHttp } from "./http.ts"
import { LinkConnection } from "./link-connection.ts"
import type { LinkStateListener } from "./link-state.ts"
import { type Listener, listen } from "./listen.ts"
import { Process } from "./process.ts"
import { Processes } from "./processes.ts"
import { connectTerminal, createTerminal, type PtyConnectOptions, type PtyOptions, type Terminal } from "./pty.ts"
import { openSocket, type SocketOptions, type SocketTarget } from "./tcp.ts"
import type { TunnelSocket } from "./tunnel-socket.ts"
import { openWebSocket, type WebSocketRequest } from "./web-socket.ts"

export interface AgentOptions {
  readonly gateway: URL
  readonly token: string
  readonly dial: Dial
  readonly clock: Clock
  readonly idleMs: number
}

export interface SpawnProcessOptions extends SpawnOptions {
  /** `pipe`: `process.write` and `closeInput`. `none`, the default: the process reads end of file at once. */
  readonly stdin?: "none" | "pipe"
  /**
   * The process goes on when its client leaves, and waits for no reader: who is slower than the agent keeps output is told what is `truncated`. The handle
   * holds one of the link's 256 streams until the end; `disconnect` gives it back.
   */
  readonly detach?: boolean
}

export class Agent {
  readonly name: string
  readonly #connection: LinkConnection
  /** What runs there, and what ended a while ago. */
  readonly processes: Processes
  readonly pty: {
    /** A new terminal. */
    create(options: PtyOptions): Promise<Terminal>
    /** One that is there: `id` of it, from whichever client. */
    connect(id: string, options?: PtyConnectOptions): Promise<Terminal>
  }

  constructor(name: string, options: AgentOptions) {
    this.name = name
    this.#connection = new LinkConnection({
      target: { gateway: options.gateway, agent: name, token: options.token },
      dial: options.dial,
      clock: options.clock,
      idleMs: options.idleMs,
    })
    this.processes = new Processes(this.#connection)
    this.pty = {
      create: (terminal) => createTerminal(this.#connection, terminal),
      connect: (id, terminal) => connectTerminal(this.#connection, id, terminal),
    }
  }

  /** Runs a command to its end. A non-zero exit is a result; TunnelError is for what is not. */
  exec(command: Command, options?: ExecOptions): Promise<ExecResult> {
    return exec(this.#connection, command, options)
  }

  /** Starts a command and resolves when it runs. */
  async spawn(command: Command, options: SpawnProcessOptions = {}): Promise<Process> {
    const open = { ...execOpen(command, options, options.stdin === "pipe"), detach: options.detach ?? false }
    return Process.start(this.#connection, "exec", open, options.signal)
  }

  /**
   * The standard fetch, to a service at the agent: `agent.fetch("http://localhost:3000/health")`. Redirects are not followed, and no headers are added but
   * `host` and what the body needs. A body is decoded; cancel one that is not wanted. Rejects with TunnelError, also where `fetch` would throw something else.
   */
  fetch(input: string | URL | Request, init?: FetchOptions): Promise<Response> {
    return tunnelFetch(this.#connection, input, init)
  }

  /** One HTTP request with headers and bodies as they are. Rejects with TunnelError; an answer of any status is none. */
  request(request: HttpRequest): Promise<HttpAnswer> {
    return requestHttp(this.#connection, request)
  }

  /** A WebSocket to a service at the agent, or the answer of a service that wants none. Rejects with TunnelError. */
  webSocket(request: WebSocketRequest): ReturnType<typeof openWebSocket> {
    return openWebSocket(this.#connection, request)
  }

  /** A connection from the agent to a TCP port or a unix socket, by default on the agent's own machine. Rejects with TunnelError. */
  connect(target: SocketTarget, options?: SocketOptions): Promise<TunnelSocket> {
    return openSocket(this.#connection, target, options)
  }

  /** A listener at the agent whose connections come here, until it is closed or its signal aborts. Rejects with TunnelError. */
  listen(address: ListenAddress, options?: SocketOptions): Promise<Listener> {
    return listen(this.#connection, address, options)
  }

  /** Round trip to the agent and back, in milliseconds. */
  ping(): Promise<number> {
    return this.#connection.ping()
  }

  /**
   * Tells of every change of the link to this agent from now on: that it waits for what was cut, that it is resumed, that it
   * ended. Nothing is dialled for it. The result stops it.
   */
  onLinkState(listener: LinkStateListener): () => void {
    return this.#connection.onState(listener)
  }

  /** Ends the link and what runs on it. */
  close(): void {
    this.#connection.close()
  }
}
