/** Reads what settings of several topics are written as. Each throws `UsageError`. */
import { UsageError } from "../usage-error.ts"

export function readPort(value: string): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN
  if (!(port <= 65_535)) throw new UsageError(`"${value}" is not a port: give one from 1 to 65535, or 0 for any free one`)
  return port
}

export function readLabel(value: string, previous: Readonly<Record<string, string>>): Record<string, string> {
  const split = value.indexOf("=")
  if (split < 1) throw new UsageError(`"${value}" is not a label: write KEY=VALUE`)
  return { ...previous, [value.slice(0, split)]: value.slice(split + 1) }
}

export function oneOf<const Choice extends string>(choices: readonly Choice[], value: string): Choice {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw new UsageError(`"${value}" is not one of ${choices.join(", ")}`)
  return found
}
