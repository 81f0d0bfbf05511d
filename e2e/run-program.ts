/** A program run to its end, and what it printed. */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { createReadStream } from "node:fs"
import { pipeline } from "node:stream/promises"

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export async function runProgram(
  command: string,
  args: readonly string[],
  { env, input = "" }: { readonly env?: NodeJS.ProcessEnv; readonly input?: string } = {},
): Promise<Ran> {
  const child = spawn(command, args, env === undefined ? {} : { env })
  let [stdout, stderr] = ["", ""]
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
  // A program that ends without reading its input closes the pipe: that is its right.
  child.stdin.on("error", () => {})
  child.stdin.end(input)
  const [code] = (await once(child, "close")) as [number | null]
  return { code, stdout, stderr }
}

/** SHA-256 of a file, in hex. */
export async function hashOfFile(path: string): Promise<string> {
  const hash = createHash("sha256")
  await pipeline(createReadStream(path, { highWaterMark: 1_048_576 }), hash)
  return hash.digest("hex")
}
