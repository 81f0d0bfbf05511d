/** What people and programs are shown: tables without borders, JSON documents, times, and progress on a terminal. */

import { styleText } from "node:util"
import Table from "cli-table3"

const noBorders = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "   ",
}

type Style = Parameters<typeof styleText>[0]

/** Styled on a terminal that has colours and whose user has not set NO_COLOR; plain anywhere else. */
export const styled = (style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string =>
  styleText(style, text, { stream, validateStream: true })

/** Columns side by side, a line each; the text ends with a line end. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: head.map((title) => styled("bold", title)),
    chars: noBorders,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
  })
  for (const row of rows) table.push([...row])
  return `${trimLines(table.toString())}\n`
}

/** Names at the left, values at the right. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const table = new Table({ chars: noBorders, style: { "padding-left": 0, "padding-right": 0, head: [], border: [] } })
  for (const [name, value] of fields) table.push([styled("bold", name), value])
  return `${trimLines(table.toString())}\n`
}

const trimLines = (text: string): string => text.replaceAll(/ +$/gm, "")

/** JSON escapes C0 controls by itself; a terminal acts on C1 ones as well. */
export const formatJson = (value: unknown): string => `${escapeC1(JSON.stringify(value, null, process.stdout.isTTY ? 2 : 0))}\n`

/** One line of NDJSON. */
export const formatJsonLine = (value: unknown): string => `${escapeC1(JSON.stringify(value))}\n`

const escapeC1 = (json: string): string =>
  json.replaceAll(/[\u007f-\u009f]/g, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** `os=linux role=ci` */
export const formatLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ")

const units = [
  { name: "d", ms: 86_400_000 },
  { name: "h", ms: 3_600_000 },
  { name: "m", ms: 60_000 },
  { name: "s", ms: 1_000 },
] as const

/** `3h ago`; both in epoch milliseconds. A clock that is a little off gives `now`, not a negative time. */
export function formatAge(sinceMs: number, nowMs: number): string {
  const ageMs = nowMs - sinceMs
  const unit = units.find(({ ms }) => ageMs >= ms)
  return unit === undefined ? "now" : `${Math.floor(ageMs / unit.ms)}${unit.name} ago`
}

/** Text of a peer without what could move the cursor or change the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const printable = (text: string): string => text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "\u{fffd}")

/** Milliseconds after which a wait is worth a word. */
const progressDelayMs = 700

/** Says on stderr what is being waited for, if it takes long and somebody watches. The result takes it away again. */
export function showProgress(text: string): () => void {
  if (!process.stderr.isTTY) return () => {}
  let shown = false
  const timer = setTimeout(() => {
    shown = true
    process.stderr.write(styled("dim", text, process.stderr))
  }, progressDelayMs)
  return () => {
    clearTimeout(timer)
    if (shown) process.stderr.write("\r\u001b[K")
    shown = false
  }
}
