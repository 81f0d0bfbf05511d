/** Runs many simulated lives: `node sim.ts --seeds 1000 [--seed FIRST]`. A seed that fails is printed with how to replay it. */
import { parseArgs } from "node:util"
import { runScenario } from "./scenario.ts"

const { values } = parseArgs({ options: { seeds: { type: "string", default: "1" }, seed: { type: "string", default: "0" } } })
const count = Number(values.seeds)
const first = Number(values.seed)
if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(first) || first < 0) {
  console.error("usage: sim.ts --seeds COUNT [--seed FIRST], both whole numbers")
  process.exit(2)
}

const failed: number[] = []
const totals = { streams: 0, bytes: 0, cuts: 0, resent: 0, messages: 0, virtualMs: 0 }
for (let seed = first; seed < first + count; seed++) {
  try {
    const report = runScenario(seed)
    for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += report[key]
    if (count === 1) console.log(report)
  } catch (error) {
    failed.push(seed)
    console.error(`seed ${seed} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    if (failed.length === 10) break
  }
}

console.log(totals)
if (failed.length > 0) {
  for (const seed of failed) console.error(`replay: node packages/protocol/test/simulation/sim.ts --seed ${seed}`)
  process.exit(1)
}
console.log(`${count} seeds from ${first} kept every promise`)
