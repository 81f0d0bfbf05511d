/** Durations as people type them: a number and its unit, `500ms`, `30s`, `5m`, `1h`. */
import ms, { type StringValue } from "ms"
import { UsageError } from "./usage-error.ts"

/** The longest a timer can wait, about 24 days. */
const durationMsMax = 2_147_483_647

const isDuration = (text: string): text is StringValue => /^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(text)

/** Milliseconds. A number without a unit is refused: half of its readers would take it for seconds, the others for milliseconds. */
export function parseDuration(text: string): number {
  if (!isDuration(text)) throw new UsageError(`"${text}" is not a duration: write a number and its unit, as in 500ms, 30s, 5m or 1h`)
  const durationMs = Math.round(ms(text))
  if (durationMs < 1 || durationMs > durationMsMax) throw new UsageError(`${text} is out of range: a duration is 1ms to 24d`)
  return durationMs
}

/** The same, or `0` for no limit. */
export const parseTimeLimit = (text: string): number => (text === "0" ? 0 : parseDuration(text))

/** `1.5s`, `320ms`, `2m`: for people. */
export const formatDuration = (durationMs: number): string => ms(Math.round(durationMs))
