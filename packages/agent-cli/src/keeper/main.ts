/** The keeper as a process of its own: `node main.ts SOCKET NAME`, started by `trunkline serve` and by nobody else. */
import { enableCompileCache } from "node:module"
import { homedir } from "node:os"
import { join } from "node:path"

// As in bin/trunkline.js: half the start-up time is compiling.
enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "trunkline", "compiled"))
const { runKeeper } = await import("./keeper-process.ts")
const [socket = "", name = ""] = process.argv.slice(2)
runKeeper(socket, name)
