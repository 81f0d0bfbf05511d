/** Runs many simulated lives: `node sim.ts --seeds 1000 [--seed FIRST] [--trace]`. A seed that fails is printed with how to replay it. */
import { parseArgs } from "node:util"
import { runLife } from "./life.ts"

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "1" }, seed: { type: "string", default: "0" }, trace: { type: "boolean", default: false } },
})
const count = Number(values.seeds)
const first = Number(values.seed)
if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(first) || first < 0) {
  console.error("usage: sim.ts --seeds COUNT [--seed FIRST] [--trace], both whole numbers")
  process.exit(2)
}

const failed: number[] = []
const totals = { users: 0, faults: 0, cuts: 0, restarts: 0, processes: 0, bytes: 0, errors: 0 }
let seeds = 0
for (let seed = first; seed < first + count; seed++) {
  seeds += 1
  try {
    const report = await runLife(seed, values.trace ? (line) => console.log(line) : undefined)
    for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += report[key]
    if (count === 1) console.log(report)
  } catch (error) {
    failed.push(seed)
    console.error(`seed ${seed} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    if (failed.length === 10) break
  }
}

const { faults, cuts, restarts, processes, bytes, errors } = totals
console.log(
  `${seeds} seeds from ${first}: ${faults} faults, ${cuts} cuts, ${restarts} restarts of the agent, ${processes} processes, ${bytes} bytes, ${errors} typed errors, ${failed.length} failed`,
)
for (const seed of failed) console.error(`replay: node packages/agent-cli/test/simulation/sim.ts --seed ${seed} [--trace]`)
process.exit(failed.length === 0 ? 0 : 1)
