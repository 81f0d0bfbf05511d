/** Numbers from samples, and their two forms of output: a table for people and JSON for programs. */

/** The value below which `fraction` (0 to 1) of the samples lie, nearest rank; NaN without samples. */
export const percentile = (samples: readonly number[], fraction: number): number => {
  const sorted = samples.toSorted((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(fraction * sorted.length) - 1))] ?? Number.NaN
}

/** The middle sample, or the mean of the two in the middle; NaN without samples. */
export const median = (samples: readonly number[]): number => {
  const sorted = samples.toSorted((left, right) => left - right)
  const low = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN
  const high = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  return (low + high) / 2
}

/** The median of each field over `runs` runs, one after the other. */
export const medianOver = async <Field extends string>(
  runs: number,
  run: () => Promise<Readonly<Record<Field, number>>>,
): Promise<Record<Field, number>> => {
  const results: Readonly<Record<Field, number>>[] = []
  for (let count = 0; count < runs; count++) results.push(await run())
  const fields = Object.keys(results[0] ?? {}) as Field[]
  return Object.fromEntries(fields.map((field) => [field, median(results.map((result) => result[field]))])) as Record<Field, number>
}

/** One line of the report: ours against the floor, and the bound on their ratio where there is one. */
export interface Comparison {
  readonly name: string
  readonly unit: string
  /** Absent where the floor has no such thing. */
  readonly floor?: number
  readonly ours: number
  /** The same without a tunnel, where there is such a thing. */
  readonly direct?: number
  /** `ours / floor` should be at most, or at least, this. */
  readonly atMost?: number
  readonly atLeast?: number
  /** `ours` itself should be at most this. */
  readonly bound?: number
}

/** `ours / floor`; NaN without a floor. */
const ratio = ({ ours, floor }: Comparison): number => (floor === undefined ? Number.NaN : ours / floor)

/** Whether the bound holds; undefined where there is none. */
const holds = (comparison: Comparison): boolean | undefined => {
  const { ours, atMost, atLeast, bound } = comparison
  if (bound !== undefined) return ours <= bound
  if (atMost !== undefined) return ratio(comparison) <= atMost
  if (atLeast !== undefined) return ratio(comparison) >= atLeast
  return undefined
}

const boundText = ({ unit, atMost, atLeast, bound }: Comparison): string => {
  if (bound !== undefined) return `≤ ${bound} ${unit}`
  if (atMost !== undefined) return `≤ ${atMost}`
  return atLeast === undefined ? "" : `≥ ${atLeast}`
}

/** A Markdown table, which a terminal shows well enough too. */
export const table = (comparisons: readonly Comparison[]): string => {
  const rows = comparisons.map((comparison) => {
    const { name, unit, floor, ours, direct } = comparison
    const verdict = { true: "yes", false: "no", undefined: "" }[String(holds(comparison)) as "true" | "false" | "undefined"]
    return [name, unit, number(direct), number(floor), number(ours), number(ratio(comparison)), boundText(comparison), verdict]
  })
  const cells = [["measure", "unit", "direct", "floor", "ours", "ratio", "bound", "holds"], ...rows]
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)))
  const line = (row: readonly string[]): string => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`
  const [head, ...body] = cells.map(line)
  return [head, `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...body].join("\n")
}

/** The same as JSON, with ratio and verdict worked out. */
export const json = (comparisons: readonly Comparison[]): string =>
  JSON.stringify(
    comparisons.map((comparison) => ({
      ...comparison,
      ratio: Number.isNaN(ratio(comparison)) ? null : ratio(comparison),
      holds: holds(comparison) ?? null,
    })),
    null,
    2,
  )

/** Three significant digits, or none behind the point from 100 up. */
const number = (value: number | undefined): string => {
  if (value === undefined || Number.isNaN(value)) return ""
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}
