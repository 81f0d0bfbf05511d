/** `pnpm test`: installs the programs that tests run against, builds the gateway's bundle and runs every test. */
import { run } from "./run.ts"
import { installTestPrograms } from "./test-programs.ts"

await installTestPrograms()
const built = await run("pnpm", ["--filter", "@trunkline/gateway", "run", "build"])
process.exitCode = built === 0 ? await run("vitest", ["run", ...process.argv.slice(2)]) : built
