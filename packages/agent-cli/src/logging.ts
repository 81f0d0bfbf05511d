/** The agent's log on stderr: JSON lines for machines, short lines for people, and never a secret. */
import type { Logger } from "@trunkline/protocol"
import { printable, styled } from "./output.ts"

type Level = "debug" | "info" | "warn" | "error"
type Fields = Record<string, unknown>

const levels: readonly Level[] = ["debug", "info", "warn", "error"]

/** `auto` is text on a terminal and JSON elsewhere. */
export async function createLogger(level: Level, format: "auto" | "text" | "json"): Promise<Logger> {
  const text = format === "text" || (format === "auto" && process.stderr.isTTY)
  const write = text ? writeText : await jsonWriter(level)
  const log =
    (at: Level) =>
    (event: string, fields: Fields = {}) => {
      if (levels.indexOf(at) >= levels.indexOf(level)) write(at, event, redacted(fields))
    }
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") }
}

/** Names under which secrets travel. */
const secretName = /secret|token|authorization|password|cookie/i

/** The same fields, at any depth, without the values of what is named like a secret; errors as their message and code. */
export function redacted(fields: Readonly<Fields>): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, secretName.test(name) ? "[redacted]" : redactedValue(value)]),
  )
}

function redactedValue(value: unknown): unknown {
  if (value instanceof Error) return { message: value.message, ...("code" in value ? { code: value.code } : {}) }
  if (Array.isArray(value)) return value.map(redactedValue)
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) return redacted(value as Fields)
  return value
}

type Write = (level: Level, event: string, fields: Fields) => void

async function jsonWriter(level: Level): Promise<Write> {
  const { pino, destination } = await import("pino")
  const logger = pino(
    {
      level,
      base: null,
      messageKey: "event",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Written at once: the last lines before an end are the ones that matter.
    destination({ fd: 2, sync: true }),
  )
  return (at, event, fields) => logger[at](fields, event)
}

const levelStyles = { debug: "dim", info: "cyan", warn: "yellow", error: "red" } as const satisfies Record<Level, string>

const writeText: Write = (level, event, fields) => {
  const time = new Date().toLocaleTimeString("en-GB")
  const rest = Object.entries(fields).map(
    ([name, value]) => `${name}=${printable(typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined"))}`,
  )
  process.stderr.write(
    `${[styled("dim", time, process.stderr), styled(levelStyles[level], level.padEnd(5), process.stderr), event, ...rest].join(" ")}\n`,
  )
}
