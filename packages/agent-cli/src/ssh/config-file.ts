/** The user's `~/.ssh/config`, changed as a whole: after a crash it is the old file or the new one. */
import { lstat, mkdir, readFile, realpath, stat } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { errnoOf, sentenceOf } from "../errno.ts"
import { exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { replaceFile } from "../replace-file.ts"

export const sshConfigFile = (): string => join(homedir(), ".ssh", "config")

/**
 * Rewrites the file and says whether it changed. A link is followed; the file keeps its mode, a new one is the user's alone. Bytes stand as Latin-1 characters, so that
 * what is no UTF-8 stays what it is. Rejects with CommandFailure.
 */
export async function changeSshConfig(change: (text: string) => string): Promise<boolean> {
  const file = sshConfigFile()
  try {
    const place = await placeOf(file)
    const before = await readIfThere(place)
    const after = change(before?.text ?? "")
    if (after === (before?.text ?? "")) return false
    await mkdir(dirname(place), { recursive: true, mode: 0o700 })
    await replaceFile(place, Buffer.from(after, "latin1"), before?.mode ?? 0o600)
    return true
  } catch (error) {
    if (errnoOf(error) === undefined) throw error
    throw new CommandFailure(`${file} cannot be changed: ${sentenceOf(error)}`, exitCodes.failure, { cause: error })
  }
}

/** Where the bytes are: renaming over a link would put a file in its place. */
async function placeOf(file: string): Promise<string> {
  const isLink = await lstat(file).then(
    (found) => found.isSymbolicLink(),
    () => false,
  )
  return isLink ? await realpath(file) : file
}

async function readIfThere(file: string): Promise<{ readonly text: string; readonly mode: number } | undefined> {
  try {
    return { text: await readFile(file, "latin1"), mode: (await stat(file)).mode & 0o777 }
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined
    throw error
  }
}
