#!/usr/bin/env node
import { enableCompileCache } from "node:module"
import { homedir } from "node:os"
import { join } from "node:path"

// Half the start-up time is compiling. The user's own directory: code kept in the shared temporary one could be another's.
enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "trunkline", "compiled"))
await import("../src/main.ts")
