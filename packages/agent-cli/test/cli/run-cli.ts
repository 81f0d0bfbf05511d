/** The program as a child process, away from this user's own settings and credentials. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { onTestFinished } from "vitest"

const program = fileURLToPath(new URL("../../bin/trunkline.js", import.meta.url))

export interface CliResult {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** stdin is at its end from the start. stdout is collected, or is the file given. */
export async function runCli(
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  stdoutFile?: number,
): Promise<CliResult> {
  const config = mkdtempSync(join(tmpdir(), "trunkline-test-"))
  onTestFinished(() => rmSync(config, { recursive: true, force: true }))
  const { PATH: path = "" } = process.env
  const child = spawn(process.execPath, [program, ...argv], {
    env: { PATH: path, HOME: config, XDG_CONFIG_HOME: config, ...environment },
    stdio: ["ignore", stdoutFile ?? "pipe", "pipe"],
  })
  const read = (stream: Readable | null) => (stream === null ? "" : text(stream))
  const [stdout, stderr, [exitCode]] = await Promise.all([read(child.stdout), read(child.stderr), once(child, "close")])
  return { exitCode: typeof exitCode === "number" ? exitCode : null, stdout, stderr }
}
