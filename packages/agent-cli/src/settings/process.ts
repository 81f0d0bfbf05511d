/** How a process at an agent is started, come back to and signalled. */
import { type AttachFrom, type SignalName, signalNames } from "@trunkline/protocol"
import { parseDuration } from "../duration.ts"
import { readSignal } from "../signal-name.ts"
import { UsageError } from "../usage-error.ts"
import { setting, text, toggle } from "./setting.ts"

export const processSettings = {
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

function readFrom(value: string): AttachFrom {
  if (value === "screen" || value === "live") return value
  const offset = /^\d+$/.test(value) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(offset)) throw new UsageError(`"${value}" is neither a byte offset, which is 0 or more, nor screen or live`)
  return offset
}

function readVariable(value: string, previous: Readonly<Record<string, string>>): Record<string, string> {
  const split = value.indexOf("=")
  if (split === 0 || value === "") throw new UsageError(`"${value}" names no variable: write KEY=VALUE, or KEY to pass on the local one`)
  if (split > 0) return { ...previous, [value.slice(0, split)]: value.slice(split + 1) }
  const local = process.env[value]
  if (local === undefined) throw new UsageError(`${value} is not set here, so it cannot be passed on: write ${value}=VALUE`)
  return { ...previous, [value]: local }
}
