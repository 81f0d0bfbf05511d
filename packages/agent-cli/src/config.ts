/**
 * Every setting of the command line, once: field, flag, environment twin, unit, default and help. The commands' options,
 * their help and the completion scripts are made of this table. Order of precedence: flag, environment, default.
 */
import { type AttachFrom, type SignalName, signalNames } from "@trunkline/protocol"
import { parseDuration } from "./duration.ts"
import { readSignal } from "./signal-name.ts"
import { UsageError } from "./usage-error.ts"

export interface Setting<T> {
  /** As commander writes it. A flag without `<value>` is a switch. */
  readonly flag: string
  readonly env: string
  /** What a value is measured or written in. */
  readonly unit: string
  readonly default: T
  /** The default in help, where it is not its own text. */
  readonly defaultText?: string
  readonly help: string
  /** Throws `UsageError`. `previous` is what came before it, for a flag that may be repeated. */
  read(text: string, previous: T): T
  /** A flag that may be repeated: what is between the values in the environment variable. */
  readonly separator?: "," | "\n"
  /** The values it can have, for completion. */
  readonly choices?: readonly string[]
  /** The field whose flag, when typed, makes this one's environment variable be ignored. */
  readonly yieldsTo?: string
}

const setting = <T>(value: Setting<T>): Setting<T> => value

const text = { default: undefined, read: (value: string): string | undefined => value }
const toggle = { unit: "on or off", default: false, read: readToggle }

export const settings = {
  gateway: setting<URL>({
    flag: "--gateway <url>",
    env: "TRUNKLINE_GATEWAY",
    unit: "URL",
    default: new URL("http://127.0.0.1:8787"),
    defaultText: "http://127.0.0.1:8787",
    help: "the gateway's URL",
    read: readGatewayUrl,
  }),
  secretFile: setting<string | undefined>({
    ...text,
    flag: "--secret-file <file>",
    env: "TRUNKLINE_SECRET_FILE",
    unit: "path",
    help: "read the gateway secret from this file; TRUNKLINE_SECRET holds the secret itself",
    yieldsTo: "tokenFile",
  }),
  tokenFile: setting<string | undefined>({
    ...text,
    flag: "--token-file <file>",
    env: "TRUNKLINE_TOKEN_FILE",
    unit: "path",
    help: "read a token, such as an agent's own key, from this file; TRUNKLINE_TOKEN holds the token itself",
    yieldsTo: "secretFile",
  }),
  port: setting<number>({
    flag: "--port <number>",
    env: "TRUNKLINE_PORT",
    unit: "TCP port",
    default: 8787,
    help: "port to listen on; 0 takes any free one",
    read: readPort,
  }),
  host: setting<string>({
    flag: "--host <address>",
    env: "TRUNKLINE_HOST",
    unit: "address",
    default: "127.0.0.1",
    help: "address to listen on; 0.0.0.0 for every interface",
    read: (value) => value,
  }),
  data: setting<string | undefined>({
    ...text,
    flag: "--data <dir>",
    env: "TRUNKLINE_DATA",
    unit: "path",
    defaultText: "the user's data directory",
    help: "where the gateway keeps its secret and storage",
  }),
  takeover: setting<"replace" | "reject" | undefined>({
    flag: "--takeover <what>",
    env: "TRUNKLINE_TAKEOVER",
    unit: "replace or reject",
    default: undefined,
    defaultText: "replace",
    help: "when a second agent takes a name: replace the first or reject the second",
    choices: ["replace", "reject"],
    read: (value) => oneOf(["replace", "reject"], value),
  }),
  previousSecretFile: setting<string | undefined>({
    ...text,
    flag: "--previous-secret-file <file>",
    env: "TRUNKLINE_PREVIOUS_SECRET_FILE",
    unit: "path",
    help: "a secret that is still accepted while agents change to the present one",
  }),
  name: setting<string | undefined>({
    ...text,
    flag: "--name <name>",
    env: "TRUNKLINE_NAME",
    unit: "endpoint name",
    defaultText: "first label of the host name",
    help: "the name others reach this machine by",
  }),
  labels: setting<Readonly<Record<string, string>>>({
    flag: "--label <key=value>",
    env: "TRUNKLINE_LABELS",
    unit: "key=value",
    default: {},
    defaultText: "none",
    help: "say something about this machine; repeatable",
    separator: ",",
    read: readPair,
  }),
  gracePeriod: setting<number>({
    flag: "--grace-period <duration>",
    env: "TRUNKLINE_GRACE_PERIOD",
    unit: "duration",
    default: 10_000,
    defaultText: "10s",
    help: "how long running commands may take to end after the first Ctrl-C or SIGTERM",
    read: parseDuration,
  }),
  journalBytes: setting<number>({
    flag: "--journal-bytes <size>",
    env: "TRUNKLINE_JOURNAL_BYTES",
    unit: "bytes, KiB or MiB",
    default: 1_048_576,
    defaultText: "1MiB",
    help: "output kept of each process, for who comes back to it: 256KiB to 64MiB",
    read: readJournalBytes,
  }),
  keepEnded: setting<number>({
    flag: "--keep-ended <duration>",
    env: "TRUNKLINE_KEEP_ENDED",
    unit: "duration",
    default: 300_000,
    defaultText: "5m",
    help: "how long a process that has ended is kept, with its output and exit",
    read: parseDuration,
  }),
  logLevel: setting<"debug" | "info" | "warn" | "error">({
    flag: "--log-level <level>",
    env: "TRUNKLINE_LOG_LEVEL",
    unit: "level",
    default: "info",
    help: "least level that is logged: debug, info, warn or error",
    choices: ["debug", "info", "warn", "error"],
    read: (value) => oneOf(["debug", "info", "warn", "error"], value),
  }),
  logFormat: setting<"auto" | "text" | "json">({
    flag: "--log-format <format>",
    env: "TRUNKLINE_LOG_FORMAT",
    unit: "format",
    default: "auto",
    help: "text, json (one object a line), or auto: text on a terminal, json elsewhere",
    choices: ["auto", "text", "json"],
    read: (value) => oneOf(["auto", "text", "json"], value),
  }),
  labelFilter: setting<Readonly<Record<string, string>>>({
    flag: "--label <key=value>",
    env: "TRUNKLINE_LABEL_FILTER",
    unit: "key=value",
    default: {},
    defaultText: "all",
    help: "only endpoints with this label; repeatable, all must match",
    separator: ",",
    read: readPair,
  }),
  status: setting<"online" | "stale" | "draining" | "offline" | undefined>({
    flag: "--status <status>",
    env: "TRUNKLINE_STATUS",
    unit: "status",
    default: undefined,
    defaultText: "all",
    help: "only endpoints that are online, stale, draining or offline",
    choices: ["online", "stale", "draining", "offline"],
    read: (value) => oneOf(["online", "stale", "draining", "offline"], value),
  }),
  watch: setting<boolean>({
    ...toggle,
    flag: "--watch",
    env: "TRUNKLINE_WATCH",
    help: "keep showing; one JSON object a change when not on a terminal",
  }),
  listOutput: setting<"table" | "json" | "name">({
    flag: "-o, --output <format>",
    env: "TRUNKLINE_LIST_OUTPUT",
    unit: "format",
    default: "table",
    help: "table, json, or name: one name a line",
    choices: ["table", "json", "name"],
    read: (value) => oneOf(["table", "json", "name"], value),
  }),
  processListOutput: setting<"table" | "json" | "id">({
    flag: "-o, --output <format>",
    env: "TRUNKLINE_PS_OUTPUT",
    unit: "format",
    default: "table",
    help: "table, json, or id: one id a line",
    choices: ["table", "json", "id"],
    read: (value) => oneOf(["table", "json", "id"], value),
  }),
  output: setting<"text" | "json">({
    flag: "-o, --output <format>",
    env: "TRUNKLINE_OUTPUT",
    unit: "format",
    default: "text",
    help: "text or json: one document",
    choices: ["text", "json"],
    read: (value) => oneOf(["text", "json"], value),
  }),
  interactive: setting<boolean>({
    ...toggle,
    flag: "-i, --interactive",
    env: "TRUNKLINE_INTERACTIVE",
    help: "pass stdin on to the command; without it the command reads end of file",
  }),
  passInput: setting<boolean>({
    ...toggle,
    flag: "-i, --interactive",
    env: "TRUNKLINE_INTERACTIVE",
    help: "pass stdin, and its end, on to a command that was started with -i; a terminal gets the keys without it",
  }),
  tty: setting<boolean>({
    ...toggle,
    flag: "-t, --tty",
    env: "TRUNKLINE_TTY",
    help: "run the command on a terminal; -it for an interactive one",
  }),
  detach: setting<boolean>({
    ...toggle,
    flag: "-d, --detach",
    env: "TRUNKLINE_DETACH",
    help: "print the process id and return; the command goes on, and `trunkline attach` comes back to it",
  }),
  env: setting<Readonly<Record<string, string>>>({
    flag: "-e, --env <key=value>",
    env: "TRUNKLINE_ENV",
    unit: "KEY=VALUE, or KEY to pass on the local one",
    default: {},
    defaultText: "none",
    help: "set a variable for the command; KEY alone passes on the local one; repeatable",
    separator: "\n",
    read: readVariable,
  }),
  workdir: setting<string | undefined>({
    ...text,
    flag: "-w, --workdir <dir>",
    env: "TRUNKLINE_WORKDIR",
    unit: "path on the agent",
    defaultText: "the agent user's home",
    help: "directory the command starts in",
  }),
  timeout: setting<number | undefined>({
    flag: "--timeout <duration>",
    env: "TRUNKLINE_TIMEOUT",
    unit: "duration",
    default: undefined,
    defaultText: "none",
    help: "end the command after this time, with exit code 124: 500ms, 30s, 5m, 1h",
    read: parseDuration,
  }),
  idempotencyKey: setting<string | undefined>({
    ...text,
    flag: "--idempotency-key <key>",
    env: "TRUNKLINE_IDEMPOTENCY_KEY",
    unit: "up to 256 characters",
    defaultText: "none",
    help: "your name for this run: however often it is sent, the command runs once, and each time you get that run's output and exit",
  }),
  session: setting<string | undefined>({
    ...text,
    flag: "--session <id>",
    env: "TRUNKLINE_SESSION",
    unit: "process id",
    defaultText: "a new one",
    help: "come back to this terminal, as `trunkline ps` lists it",
  }),
  readOnly: setting<boolean>({
    ...toggle,
    flag: "--read-only",
    env: "TRUNKLINE_READ_ONLY",
    help: "see, and change nothing: neither keys nor the window's size go there",
  }),
  from: setting<AttachFrom>({
    flag: "--from <where>",
    env: "TRUNKLINE_FROM",
    unit: "offset, screen or live",
    default: "screen",
    help: "where the output begins: screen: what a terminal shows, or all that is kept; live: with what comes next; or a byte offset",
    choices: ["screen", "live"],
    read: readFrom,
  }),
  signal: setting<SignalName>({
    flag: "-s, --signal <signal>",
    env: "TRUNKLINE_SIGNAL",
    unit: "signal",
    default: "SIGTERM",
    defaultText: "TERM",
    help: "what to send, with or without SIG, in either case: TERM, KILL, INT…",
    choices: signalNames.map((name) => name.slice("SIG".length)),
    read: readSignal,
  }),
}

export type Field = keyof typeof settings
export type Values<F extends Field = Field> = { readonly [Name in F]: (typeof settings)[Name]["default"] }

/** The same table, where one setting is as good as another. */
export const settingOf = (field: Field): Setting<unknown> => settings[field] as Setting<unknown>

export const isToggle = ({ flag }: Setting<unknown>): boolean => !flag.includes("<")

/** One line of help. */
export function describeSetting(setting: Setting<unknown>): string {
  const shown = setting.defaultText ?? (setting.default === undefined || isToggle(setting) ? undefined : String(setting.default))
  return `${setting.help} (${shown === undefined ? "" : `default: ${shown}; `}env: ${setting.env})`
}

/** The value of a setting's environment variable, or undefined if it is unset or empty. Throws `UsageError` naming the variable. */
export function readEnvironment(setting: Setting<unknown>, environment: NodeJS.ProcessEnv): unknown {
  const written = environment[setting.env]
  if (written === undefined || written === "") return undefined
  try {
    const parts = setting.separator === undefined ? [written] : written.split(setting.separator).filter((part) => part !== "")
    return parts.reduce((previous: unknown, part) => setting.read(part, previous), setting.default)
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${setting.env}: ${error.message}`) : error
  }
}

function readGatewayUrl(value: string): URL {
  if (!URL.canParse(value)) throw new UsageError(`"${value}" is not a URL: a gateway's looks like https://gateway.example.com`)
  const url = new URL(value)
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new UsageError(`a gateway's URL starts with http: or https:, not ${url.protocol}`)
  if (url.username !== "" || url.password !== "" || url.search !== "") {
    throw new UsageError("a gateway's URL holds no credentials and no query: give the secret with --secret-file or TRUNKLINE_SECRET")
  }
  return url
}

function readPort(value: string): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN
  if (!(port <= 65_535)) throw new UsageError(`"${value}" is not a port: give one from 1 to 65535, or 0 for any free one`)
  return port
}

const journalBytesMin = 262_144
const journalBytesMax = 67_108_864
const byteUnits: Readonly<Record<string, number>> = { "": 1, KiB: 1_024, MiB: 1_048_576 }

function readJournalBytes(value: string): number {
  const [, digits, unit = ""] = /^(\d{1,9})(KiB|MiB)?$/.exec(value) ?? []
  const bytes = Number(digits) * (byteUnits[unit] ?? Number.NaN)
  if (!(bytes >= journalBytesMin && bytes <= journalBytesMax))
    throw new UsageError(`"${value}" is not a size from 256KiB to 64MiB: write bytes, or a number and KiB or MiB`)
  return bytes
}

function readFrom(value: string): AttachFrom {
  if (value === "screen" || value === "live") return value
  const offset = /^\d+$/.test(value) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(offset)) throw new UsageError(`"${value}" is neither a byte offset, which is 0 or more, nor screen or live`)
  return offset
}

function readPair(value: string, previous: Readonly<Record<string, string>>): Record<string, string> {
  const split = value.indexOf("=")
  if (split < 1) throw new UsageError(`"${value}" is not a label: write KEY=VALUE`)
  return { ...previous, [value.slice(0, split)]: value.slice(split + 1) }
}

function readVariable(value: string, previous: Readonly<Record<string, string>>): Record<string, string> {
  const split = value.indexOf("=")
  if (split === 0 || value === "") throw new UsageError(`"${value}" names no variable: write KEY=VALUE, or KEY to pass on the local one`)
  if (split > 0) return { ...previous, [value.slice(0, split)]: value.slice(split + 1) }
  const local = process.env[value]
  if (local === undefined) throw new UsageError(`${value} is not set here, so it cannot be passed on: write ${value}=VALUE`)
  return { ...previous, [value]: local }
}

function readToggle(value: string): boolean {
  switch (value.toLowerCase()) {
    case "1":
    case "true":
    case "yes":
    case "on":
      return true
    case "0":
    case "false":
    case "no":
    case "off":
      return false
    default:
      throw new UsageError(`"${value}" is neither on nor off: write 1 or 0`)
  }
}

function oneOf<const Choice extends string>(choices: readonly Choice[], value: string): Choice {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw new UsageError(`"${value}" is not one of ${choices.join(", ")}`)
  return found
}
