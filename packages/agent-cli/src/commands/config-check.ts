/** `trunkline config check [FILE]`: what the owner has written down, read as `serve` reads it, and what is in force by it. */

import { formatDuration } from "../duration.ts"
import type { Operands } from "../operands.ts"
import { formatFields, formatJson, printable } from "../output.ts"
import { type PolicyValues, readServeConfig } from "../serve-config.ts"
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"
import { OwnerPolicy, type PolicyDescription } from "../targets/owner-policy.ts"

export async function run(values: PolicyValues & Values<"output">, { processId: operand }: Operands): Promise<number> {
  const { file, policy } = await readServeConfig(operand === "" ? values : { ...values, config: operand })
  const description = new OwnerPolicy(policy).describe()
  const text = values.output === "json" ? formatJson({ file: file ?? null, ...description }) : describe(file, description)
  await writeAll(process.stdout, text)
  return 0
}

function describe(file: string | undefined, { allow, deny, services, firstByteMs, idleMs }: PolicyDescription): string {
  const list = (name: string, rules: readonly string[]) => (rules.length === 0 ? [] : [[name, rules.join(", ")] as const])
  const limit = (durationMs: number) => (durationMs === 0 ? "no limit" : formatDuration(durationMs))
  const fields: readonly (readonly [string, string])[] = [
    ["config file", file ?? "none"],
    ["tcp to", allow.tcp.join(", ")],
    ...list("  but not to", deny.tcp),
    ["http to", allow.http.join(", ")],
    ...list("  but not to", deny.http),
    ...Object.entries(services).map(([port, url]) => [`  and ${port}`, url] as const),
    ["listen at", allow.listen.join(", ")],
    ...list("  but not at", deny.listen),
    ["first byte", limit(firstByteMs)],
    ["idle", limit(idleMs)],
  ]
  return formatFields(fields.map(([name, value]) => [name, printable(value)]))
}
