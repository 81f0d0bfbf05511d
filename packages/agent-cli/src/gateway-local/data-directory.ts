/** The directory where a gateway on this machine keeps everything: where it is by default, its layout, and whether it can be written. */
import { mkdir, stat, unlink, writeFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, isAbsolute, join, resolve } from "node:path"
import { errnoOf, sentenceOf } from "../errno.ts"
import { GatewayStartError } from "./gateway-start-error.ts"

export interface DataDirectory {
  readonly path: string
  readonly secretFile: string
  readonly configFile: string
  readonly lockFile: string
  /** Who runs on this directory now; see `data-lock.ts`. */
  readonly recordFile: string
  readonly objects: string
  readonly kvIndex: string
  readonly kvBlobs: string
}

/** A first start writes about 200 KB of SQLite files; with less than this free, objects would fail one by one later. */
const probeBytes = 1024 * 1024

/** `trunkline/gateway` under the user's data home. A relative XDG_DATA_HOME is ignored, as its specification asks. */
export const defaultDataDirectory = (
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string => {
  const { XDG_DATA_HOME: dataHome, LOCALAPPDATA: localData } = environment
  if (dataHome !== undefined && isAbsolute(dataHome)) return join(dataHome, "trunkline", "gateway")
  if (platform === "darwin") return join(homedir(), "Library", "Application Support", "trunkline", "gateway")
  if (platform === "win32" && localData !== undefined) return join(localData, "trunkline", "gateway")
  return join(homedir(), ".local", "share", "trunkline", "gateway")
}

/**
 * Makes the directory and its folders and proves that 1 MiB can be written.
 * A new directory gets mode 0700; one that exists keeps its mode, because it may be a mounted volume of another
 * owner, and what is private is in 0600 files and the 0700 `storage` folder.
 * Rejects with `GatewayStartError`: `data-directory-unwritable` or `disk-full`, naming the path.
 */
export const openDataDirectory = async (directory: string): Promise<DataDirectory> => {
  const path = resolve(directory)
  const storage = join(path, "storage")
  const layout: DataDirectory = {
    path,
    secretFile: join(path, "secret"),
    configFile: join(path, "gateway.capnp"),
    lockFile: join(path, "lock"),
    recordFile: join(path, "running.json"),
    objects: join(storage, "objects"),
    kvIndex: join(storage, "kv-index"),
    kvBlobs: join(storage, "kv-blobs"),
  }
  try {
    for (const folder of [path, layout.objects, layout.kvIndex, layout.kvBlobs]) await makeDirectory(folder)
    await probe(join(path, `.probe-${process.pid}`))
  } catch (error) {
    throw directoryError(path, error)
  }
  return layout
}

/** Node's own recursive mkdir reports ENOENT for a read-only file system, which would send its owner the wrong way. */
const makeDirectory = async (path: string): Promise<void> => {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === "EEXIST" && (await stat(path)).isDirectory()) return
    if (errno !== "ENOENT" || dirname(path) === path) throw error
    await makeDirectory(dirname(path))
    await mkdir(path, { mode: 0o700 })
  }
}

const probe = async (file: string): Promise<void> => {
  try {
    await writeFile(file, new Uint8Array(probeBytes), { mode: 0o600, flag: "w" })
  } finally {
    await unlink(file).catch(() => {})
  }
}

/** The error for a failed system call below `path`, with what its owner can do about it. */
export const directoryError = (path: string, error: unknown): GatewayStartError => {
  const errno = errnoOf(error)
  const elsewhere = "or choose another directory with --data DIR"
  switch (errno) {
    case "ENOSPC":
    case "EDQUOT":
      return new GatewayStartError(
        "disk-full",
        `the disk of the data directory ${path} is full (${errno}; ${probeBytes} bytes are needed to start): free some space, ${elsewhere}`,
        error,
      )
    case "EACCES":
    case "EPERM":
      return unwritable(`no permission to write to the data directory ${path} (${errno}): change its owner or mode, ${elsewhere}`, error)
    case "EROFS":
      return unwritable(`the data directory ${path} is on a read-only file system (${errno}): mount it writable, ${elsewhere}`, error)
    case "ENOTDIR":
    case "EEXIST":
      return unwritable(
        `the data directory ${path} cannot be made, because a file is in its place (${errno}): move the file, ${elsewhere}`,
        error,
      )
    default:
      return unwritable(`the data directory ${path} cannot be used: ${sentenceOf(error)}; repair it, ${elsewhere}`, error)
  }
}

const unwritable = (message: string, cause: unknown): GatewayStartError =>
  new GatewayStartError("data-directory-unwritable", message, cause)
