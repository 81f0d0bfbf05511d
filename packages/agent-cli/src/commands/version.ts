/** `trunkline version` */
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"
import { trunklineVersion } from "../version.ts"

export async function run({ output }: Values<"output">): Promise<number> {
  const version = trunklineVersion()
  const line =
    output === "json"
      ? JSON.stringify({ version, node: process.versions.node, platform: process.platform, arch: process.arch })
      : `trunkline ${version}`
  await writeAll(process.stdout, `${line}\n`)
  return 0
}
