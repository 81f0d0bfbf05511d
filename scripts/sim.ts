/** `pnpm sim --seeds N [--seed FIRST]`: links and streams alone, then the whole path from SDK to processes, each over N seeds. */
import { run } from "./run.ts"

const simulations = ["packages/protocol/test/simulation/sim.ts", "packages/agent-cli/test/simulation/sim.ts"]

for (const simulation of simulations) {
  const exitCode = await run(process.execPath, [simulation, ...process.argv.slice(2)])
  if (exitCode !== 0) process.exitCode = exitCode
}
