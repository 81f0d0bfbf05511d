/** A server that listens and takes nobody in: its process is stopped, and the queue of those who knock is full. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { connect, type Socket } from "node:net"

type Target = { readonly host: string; readonly port: number } | { readonly path: string }

const program = `
  const server = require("node:net").createServer((socket) => socket.on("error", () => {}).end("hello"))
  server.listen({ ...JSON.parse(process.argv[1]), backlog: 1 }, () => console.log(server.address().port ?? 0))
`

export class StoppedServer {
  readonly target: Target
  readonly #child: ChildProcess
  readonly #waiting: readonly Socket[]

  private constructor(target: Target, child: ChildProcess, waiting: readonly Socket[]) {
    this.target = target
    this.#child = child
    this.#waiting = waiting
  }

  /** Listens on loopback, or at the path. */
  static async start(path?: string): Promise<StoppedServer> {
    const where = path === undefined ? { host: "127.0.0.1", port: 0 } : { path }
    const child = spawn(process.execPath, ["-e", program, JSON.stringify(where)], { stdio: ["ignore", "pipe", "inherit"] })
    const [line] = await once(child.stdout, "data")
    const target = path === undefined ? { host: "127.0.0.1", port: Number(line) } : { path }
    child.kill("SIGSTOP")
    // Linux lets in one more than the queue was said to hold.
    const waiting = [connect(target), connect(target)]
    await Promise.all(waiting.map((socket) => once(socket, "connect")))
    return new StoppedServer(target, child, waiting)
  }

  /** Takes in all who wait. */
  go(): void {
    this.#child.kill("SIGCONT")
  }

  async end(): Promise<void> {
    for (const socket of this.#waiting) socket.destroy()
    const ended = once(this.#child, "exit")
    this.#child.kill("SIGKILL")
    await ended
  }
}
