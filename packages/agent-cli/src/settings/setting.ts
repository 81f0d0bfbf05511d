/** What a setting is: a flag and its environment twin, how they are read, and what help says of them. It knows no setting by name. */
import { UsageError } from "../usage-error.ts"

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

/** Checks one against its type, and keeps that of its value. */
export const setting = <T>(value: Setting<T>): Setting<T> => value

/** The parts of a setting whose value is the text as it was written. */
export const text = { default: undefined, read: (value: string): string | undefined => value }
/** The parts of a switch. */
export const toggle = { unit: "on or off", default: false, read: readToggle }

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
