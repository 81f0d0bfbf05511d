/**
 * A keeper's process: alone on its socket, deaf to the signals that are meant for `serve`, gone when it is idle.
 *
 * Alone means a lock that ends with the process, however that ends: SQLite's on an empty database file, which is a
 * kernel file lock. Its holder may remove a socket that is left over, and no other keeper can be between its look and its bind.
 */
import { closeSync, writeSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { TunnelError } from "@trunkline/protocol"
import { trunklineVersion } from "../version.ts"
import { Keeper } from "./keeper.ts"
import { keeperFiles } from "./keeper-path.ts"
import { KeeperSocket } from "./keeper-socket.ts"
import { occupied, readinessFd, ready } from "./readiness.ts"

const sqliteBusy = 5
/** Milliseconds for the serve that has started us to come. */
const firstServeMs = 10_000
/** Milliseconds between a signal and the decision that it was not for us. */
const secondLookMs = 1_000
/** Milliseconds for the last log line to leave after a fault. */
const lastWordsMs = 200

export function runKeeper(socket: string, name: string): void {
  process.title = `trunkline keeper ${name}`
  const files = keeperFiles(socket)
  const lock = (() => {
    try {
      return takeLock(files.lock)
    } catch (error) {
      tell(`${String(error)}\n`)
      throw error
    }
  })()
  if (lock === undefined) return tell(occupied)
  let expectedUntilMs = performance.now() + firstServeMs
  const keeper = new Keeper({
    version: trunklineVersion(),
    ledgerPath: files.runs,
    adoptEnvironment(environment) {
      expectedUntilMs = 0
      adopt(environment)
    },
    idle: () => {
      if (performance.now() >= expectedUntilMs) end(0)
    },
  })
  const listener = new KeeperSocket(socket, (connection) => keeper.accept(connection))
  const end = (exitCode: number): void => {
    // Before the lock is free: afterwards these names may be another keeper's.
    listener.remove()
    lock.close()
    process.exit(exitCode)
  }

  // Its terminal is gone or never was; and these are how people speak to serve.
  for (const signal of ["SIGHUP", "SIGUSR2"] as const) process.on(signal, () => {})
  const stop = (): void => {
    keeper.stop(new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" })).then(
      () => end(0),
      () => end(1),
    )
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (!keeper.hasServe) return stop()
      // A stop of everything reaches serve too, which has its own order of doing things; or it was killed in this moment.
      setTimeout(() => {
        if (!keeper.hasServe) return stop()
        keeper.logger.warn("keeper.signalled", { signal, ignored: "stop the agent instead" })
      }, secondLookMs)
    })
  }
  process.on("uncaughtException", (error) => {
    keeper.logger.error("keeper.failed", { error: error.stack ?? String(error) })
    setTimeout(end, lastWordsMs, 1)
  })

  listener.listen(
    () => tell(ready),
    (error) => {
      tell(`${error.message}\n`)
      end(1)
    },
  )
}

/** Undefined when another process has it. */
function takeLock(file: string): DatabaseSync | undefined {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite")
  const database = new DatabaseSync(file)
  try {
    database.exec("BEGIN EXCLUSIVE")
    return database
  } catch (error) {
    database.close()
    if (error instanceof Error && "errcode" in error && error.errcode === sqliteBusy) return undefined
    throw error
  }
}

function tell(word: string): void {
  try {
    writeSync(readinessFd, word)
    closeSync(readinessFd)
  } catch {
    // Who has started us is gone; another serve may come.
  }
}

/** Makes a serve's environment this process's, where children's begin. */
function adopt(environment: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(process.env)) if (!Object.hasOwn(environment, name)) delete process.env[name]
  Object.assign(process.env, environment)
}
