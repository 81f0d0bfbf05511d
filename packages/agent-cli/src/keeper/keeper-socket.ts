/**
 * The keeper's socket in the file system: bound, bound again when somebody has removed it, because without it what is kept could never
 * be come back to, and removed in the end if it is still ours.
 */
import { chmodSync, existsSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { dirname } from "node:path"
import { keeperFiles } from "./keeper-path.ts"

/** Milliseconds between looks at whether it is still there. */
const lookMs = 2_000

export class KeeperSocket {
  readonly #path: string
  readonly #accept: (connection: Socket) => void
  #server: Server | undefined
  #inode: bigint | undefined

  constructor(path: string, accept: (connection: Socket) => void) {
    this.#path = path
    this.#accept = accept
  }

  /** `failed` is told of the system's error. */
  listen(listening: () => void, failed: (error: Error) => void): void {
    rmSync(this.#path, { force: true })
    // A client that closes before it was accepted is no error of ours.
    const server = createServer((connection) => this.#accept(connection.on("error", () => {})))
    server.once("error", failed)
    server.listen(this.#path, () => {
      chmodSync(this.#path, 0o600)
      writeFileSync(keeperFiles(this.#path).pid, `${process.pid}\n`, { mode: 0o600 })
      this.#inode = inodeOf(this.#path)
      this.#server = server
      listening()
      this.#lookLater()
    })
  }

  remove(): void {
    if (this.#inode === undefined || inodeOf(this.#path) !== this.#inode) return
    rmSync(this.#path, { force: true })
    rmSync(keeperFiles(this.#path).pid, { force: true })
  }

  #lookLater(): void {
    setTimeout(() => {
      // Another keeper's socket in its place is none of our affairs.
      if (existsSync(this.#path) || !existsSync(dirname(this.#path))) return this.#lookLater()
      this.#server?.close()
      this.listen(
        () => {},
        () => this.#lookLater(),
      )
    }, lookMs).unref()
  }
}

const inodeOf = (path: string): bigint | undefined => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
