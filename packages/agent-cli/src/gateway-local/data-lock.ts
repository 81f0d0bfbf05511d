/**
 * One gateway per data directory: an exclusive lock, and a record of who holds it.
 * The lock is SQLite's lock on an empty database file, that is a kernel file lock: it ends with the process that holds it, however that
 * ends, so nothing stale is ever left to judge. The record names the processes, for messages and to stop an orphaned workerd.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { errnoOf } from "../errno.ts"
import { type DataDirectory, directoryError } from "./data-directory.ts"
import { GatewayStartError } from "./gateway-start-error.ts"
import { commandLineOf } from "./process-table.ts"

interface RunningRecord {
  readonly pid: number
  /** 0 until workerd runs. */
  readonly workerdPid: number
}

export interface DataLock {
  /** Notes the workerd that uses the storage, so that the next gateway can stop it should it outlive this one. */
  recordWorkerd(workerdPid: number): void
  /** Idempotent. Only after workerd has ended: the next holder opens the same storage. */
  release(): void
}

const sqliteBusy = 5
/** A killed process is gone within milliseconds; one that takes longer hangs in the kernel. */
const orphanEndMs = 2_000

/**
 * Takes the lock, and stops the workerd of an earlier gateway if it still runs.
 * Rejects with `GatewayStartError` `data-directory-in-use` when another gateway holds it, naming that one's process id.
 */
export const lockDataDirectory = async (directory: DataDirectory): Promise<DataLock> => {
  const database = openLock(directory)
  const release = (): void => {
    if (!database.isOpen) return
    rmSync(directory.recordFile, { force: true })
    database.close()
  }
  const record = (workerdPid: number): void => {
    const running: RunningRecord = { pid: process.pid, workerdPid }
    writeFileSync(directory.recordFile, JSON.stringify(running), { mode: 0o600 })
  }
  try {
    await stopOrphan(directory)
    record(0)
  } catch (error) {
    release()
    throw error instanceof GatewayStartError ? error : directoryError(directory.path, error)
  }
  return { recordWorkerd: record, release }
}

const openLock = (directory: DataDirectory) => {
  const { DatabaseSync } = loadSqlite()
  try {
    const database = new DatabaseSync(directory.lockFile)
    try {
      database.exec("BEGIN EXCLUSIVE")
      return database
    } catch (error) {
      database.close()
      throw error
    }
  } catch (error) {
    if (!(error instanceof Error && "errcode" in error && error.errcode === sqliteBusy)) throw directoryError(directory.path, error)
    const holder = readRecord(directory)?.pid
    const who = holder === undefined ? "another gateway" : `the gateway with process id ${holder}`
    throw new GatewayStartError(
      "data-directory-in-use",
      `the data directory ${directory.path} is in use by ${who}: stop it, or give this gateway its own directory with --data DIR`,
      error,
    )
  }
}

/** Node 22 prints a warning when this built-in module loads; people who start a gateway can do nothing about it. */
const loadSqlite = (): typeof import("node:sqlite") => {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    process.emitWarning = emitWarning
  }
}

/**
 * Two workerd on one storage would corrupt it. A process id may have been reused, so only a process whose arguments name
 * our configuration file is ours.
 */
const stopOrphan = async (directory: DataDirectory): Promise<void> => {
  const workerdPid = readRecord(directory)?.workerdPid ?? 0
  if (workerdPid <= 1) return
  const isOurs = async (): Promise<boolean> => (await commandLineOf(workerdPid)).includes(directory.configFile)
  const deadline = performance.now() + orphanEndMs
  while (await isOurs()) {
    if (performance.now() > deadline) {
      throw new GatewayStartError(
        "data-directory-in-use",
        `the data directory ${directory.path} is in use by workerd with process id ${workerdPid}, ` +
          "left over from an earlier gateway, and it does not end: kill it",
      )
    }
    try {
      process.kill(workerdPid, "SIGKILL")
    } catch (error) {
      if (errnoOf(error) !== "ESRCH") throw error
    }
    await delay(5)
  }
}

const readRecord = (directory: DataDirectory): RunningRecord | undefined => {
  try {
    const record: unknown = JSON.parse(readFileSync(directory.recordFile, "utf8"))
    if (typeof record !== "object" || record === null || !("pid" in record) || !("workerdPid" in record)) return undefined
    const { pid, workerdPid } = record
    return Number.isSafeInteger(pid) && Number.isSafeInteger(workerdPid) ? { pid: Number(pid), workerdPid: Number(workerdPid) } : undefined
  } catch {
    return undefined // Absent, or cut off by a crash: nobody is known.
  }
}
