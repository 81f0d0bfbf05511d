/** Starts a keeper that outlives us: its own session, no terminal, no directory held, none of our secrets. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import type { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { withoutSecrets } from "../processes/environment.ts"
import { KeeperUnavailable } from "./keeper-path.ts"
import { occupied, readinessFd, ready } from "./readiness.ts"

/** Milliseconds until it listens; it takes a tenth of a second. */
const startMs = 10_000

/**
 * Resolves when a keeper listens on the socket, or when another one is about to. Rejects with `KeeperUnavailable`.
 * @param entry the program; by default this package's own
 */
export async function spawnKeeper(
  socket: string,
  name: string,
  environment: NodeJS.ProcessEnv,
  entry: URL = new URL("main.ts", import.meta.url),
): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(entry), socket, name], {
    cwd: "/",
    env: withoutSecrets(environment),
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  })
  child.unref()
  const pipe = child.stdio[readinessFd] as Readable
  const late = setTimeout(() => pipe.destroy(), startMs)
  const failed = once(child, "error").then(([error]) => {
    throw error
  })
  try {
    const said = await Promise.race([text(pipe), failed])
    if (said === ready || said === occupied) return
    throw new KeeperUnavailable(`a keeper was started and did not come to listen on ${socket}${said === "" ? "" : `: ${said.trim()}`}`)
  } catch (error) {
    if (error instanceof KeeperUnavailable) throw error
    throw new KeeperUnavailable(`no keeper could be started: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  } finally {
    clearTimeout(late)
    failed.catch(() => {})
  }
}
