/** One agent, by name: a handle that costs nothing until it is used. All its calls share one link. */
import type { Clock } from "@trunkline/protocol"
import type { Dial } from "./dial.ts"
import { type Command, type ExecOptions, type ExecResult, exec, execOpen, type SpawnOptions } from "./exec.ts"
import { LinkConnection } from "./link-connection.ts"
import type { LinkStateListener } from "./link-state.ts"
import { Process } from "./process.ts"
import { Processes } from "./processes.ts"
import { connectTerminal, createTerminal, type PtyConnectOptions, type PtyOptions, type Terminal } from "./pty.ts"

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
