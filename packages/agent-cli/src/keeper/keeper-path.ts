/** Where a keeper's socket is: one for each gateway and endpoint name, in a directory that only this user can enter. */
import { createHash } from "node:crypto"
import { lstat, mkdir, readdir } from "node:fs/promises"
import { homedir, tmpdir } from "node:os"
import { basename, isAbsolute, join } from "node:path"
import type { EndpointName } from "@trunkline/protocol"
import { keeperProtocol } from "./keeper-wire.ts"

/** No keeper can be had here; the message says why and what would change that. */
export class KeeperUnavailable extends Error {
  override readonly name = "KeeperUnavailable"
}

export interface KeeperPath {
  readonly directory: string
  readonly socket: string
}

/** The keeper's other files, beside its socket: the lock that makes it the only one, its process id, and its notes of keyed runs. */
export function keeperFiles(socket: string): { readonly lock: string; readonly pid: string; readonly runs: string } {
  const stem = socket.replace(/\.sock$/, "")
  return { lock: `${stem}.lock`, pid: `${stem}.pid`, runs: `${stem}.runs` }
}

/** Bytes of a socket's path at most: macOS has room for 104 with the closing zero, Linux for a few more. */
const socketPathBytesMax = 103

/** Enough of a hash that two of one user's agents never meet. */
const nameLength = 16

/** `trunkline` under the user's state home. A relative XDG_STATE_HOME is ignored, as its specification asks. */
const stateDirectory = ({ XDG_STATE_HOME: stateHome }: NodeJS.ProcessEnv): string =>
  join(stateHome !== undefined && isAbsolute(stateHome) ? stateHome : join(homedir(), ".local", "state"), "trunkline")

const socketName = (gateway: URL, name: EndpointName): string =>
  `keeper-${createHash("sha256").update(`${gateway.origin}\n${name}`).digest("hex").slice(0, nameLength)}-v${keeperProtocol}.sock`

/** Makes the directory if needed. Rejects with `KeeperUnavailable`. */
export async function keeperPath(gateway: URL, name: EndpointName, environment: NodeJS.ProcessEnv = process.env): Promise<KeeperPath> {
  const uid = process.getuid?.()
  if (uid === undefined) throw new KeeperUnavailable("this system has no users to keep a socket for")
  const file = socketName(gateway, name)
  const state = stateDirectory(environment)
  const fits = Buffer.byteLength(join(state, file)) <= socketPathBytesMax
  const directory = fits ? state : join(tmpdir(), `trunkline-${uid}`)
  await makePrivate(directory, uid)
  return { directory, socket: join(directory, file) }
}

/** The sockets of keepers of the same agent that speak another version of the protocol, alive or not. */
export async function otherVersions({ directory, socket }: KeeperPath): Promise<readonly string[]> {
  const ours = basename(socket)
  const agent = ours.slice(0, ours.lastIndexOf("-v") + 2)
  const files = await readdir(directory)
  return files.filter((file) => file.startsWith(agent) && file.endsWith(".sock") && file !== ours).map((file) => join(directory, file))
}

/** Whoever else could write there could give us a socket of their own, and be given what is typed. */
async function makePrivate(directory: string, uid: number): Promise<void> {
  const stats = await mkdir(directory, { recursive: true, mode: 0o700 })
    .then(() => lstat(directory))
    .catch((error: unknown) => {
      throw new KeeperUnavailable(`the directory ${directory} cannot be made: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    })
  if (!stats.isDirectory()) throw new KeeperUnavailable(`${directory} is not a directory: move away what is in its place`)
  if (stats.uid !== uid) throw new KeeperUnavailable(`the directory ${directory} belongs to another user (${stats.uid}): have it removed`)
  const mode = stats.mode & 0o777
  if ((mode & 0o077) !== 0) {
    throw new KeeperUnavailable(
      `the directory ${directory} is open to others (mode ${mode.toString(8).padStart(4, "0")}): run chmod 700 on it`,
    )
  }
}
