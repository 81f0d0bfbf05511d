/** Output kept for one JSON document at the end. */
import type { Exit } from "@trunkline/client"
import { formatJson } from "../output.ts"
import { writeAll } from "../stdio.ts"
import type { OutputPiece, OutputSink } from "./pass-output.ts"

/** Bytes of stdout and stderr together; more is read and dropped, and `truncated` says so. */
const collectedBytesMax = 16_777_216

export class CollectedOutput implements OutputSink {
  readonly #chunks: Record<"stdout" | "stderr", Uint8Array[]> = { stdout: [], stderr: [] }
  #free = collectedBytesMax
  missingBytes = 0
  /** What comes first is not the beginning: that is no failure, and no whole either. */
  lacksBeginning = false

  async write({ type, bytes }: OutputPiece): Promise<void> {
    const kept = bytes.subarray(0, this.#free)
    this.missingBytes += bytes.byteLength - kept.byteLength
    this.#free -= kept.byteLength
    // A copy: a small piece must not keep the whole message it came in.
    if (kept.byteLength > 0) this.#chunks[type].push(kept.slice())
  }

  gap(bytes: number): void {
    this.missingBytes += bytes
  }

  async finish(exit: Exit, durationMs: number): Promise<void> {
    const document = {
      exitCode: exit.type === "code" ? exit.code : null,
      signal: exit.type === "signal" ? exit.signal : null,
      stdout: Buffer.concat(this.#chunks.stdout).toString(),
      stderr: Buffer.concat(this.#chunks.stderr).toString(),
      truncated: this.missingBytes > 0 || this.lacksBeginning,
      durationMs: Math.round(durationMs),
      outcome: outcomes[exit.type],
    }
    await writeAll(process.stdout, formatJson(document))
  }
}

const outcomes = { code: "exited", signal: "signalled", timeout: "timeout", unknown: "unknown" } as const satisfies Record<
  Exit["type"],
  string
>
