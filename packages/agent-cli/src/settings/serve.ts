/** What `trunkline serve` says of its agent, and how long it keeps what. */
import { parseDuration } from "../duration.ts"
import { UsageError } from "../usage-error.ts"
import { readLabel } from "./readers.ts"
import { setting, text } from "./setting.ts"

export const serveSettings = {
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
    read: readLabel,
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
