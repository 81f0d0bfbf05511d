/** Reading along with the emulator: hooks that take notice of a sequence and leave what it does to the emulator. */
import type { Terminal } from "@xterm/headless"

/** One parameter of a control sequence; a list where it has parts, divided by colons. */
export type Parameter = number | number[]

export interface ControlId {
  readonly prefix?: string
  readonly final: string
}

/** 0 where there is none. */
export function numberAt(parameters: readonly Parameter[], at: number): number {
  const parameter = parameters[at]
  return (Array.isArray(parameter) ? parameter[0] : parameter) ?? 0
}

export function onControl({ parser }: Terminal, id: ControlId, read: (parameters: Parameter[]) => void): void {
  parser.registerCsiHandler(id, (parameters) => {
    read(parameters)
    return false
  })
}

/** OSC `number`. */
export function onCommand({ parser }: Terminal, number: number, read: (text: string) => void): void {
  parser.registerOscHandler(number, (text) => {
    read(text)
    return false
  })
}

/** ESC c. */
export function onReset({ parser }: Terminal, reset: () => void): void {
  parser.registerEscHandler({ final: "c" }, () => {
    reset()
    return false
  })
}
