/** A small file written as a whole: after a crash it is the old one or the new one. */
import { randomBytes } from "node:crypto"
import { open, rename, unlink } from "node:fs/promises"
import { dirname } from "node:path"

/** For its owner alone, unless `mode` says otherwise. Rejects with the system's error, and leaves nothing beside the file then. */
export async function replaceFile(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const unfinished = `${file}.${randomBytes(6).toString("hex")}`
  try {
    const handle = await open(unfinished, "wx", 0o600)
    try {
      await handle.writeFile(content)
      // What a umask would take away from a mode given to `open`.
      if (mode !== 0o600) await handle.chmod(mode)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(unfinished, file)
  } catch (error) {
    await unlink(unfinished).catch(() => {})
    throw error
  }
  // The new name is on disk once its directory is. Windows cannot open a directory and needs no such step.
  if (process.platform === "win32") return
  const directory = await open(dirname(file), "r")
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
