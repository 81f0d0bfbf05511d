/**
 * Colours that programs gave new values (OSC 4 and 10 to 19): the emulator has no display, and forgets them. Colours no
 * program touched are the user's own choice, and stay.
 */
import type { Terminal } from "@xterm/headless"
import { onCommand, onReset } from "./hooks.ts"

/** Foreground, background, cursor, and those of the mouse and the selection. */
const [firstNamed, lastNamed] = [10, 19]
const resetOffset = 100
const paletteCommand = 4
const paletteSize = 256

/** Names and all forms of numbers, not the question mark that asks for one. */
const colorPattern = /^[\w#:./ ,%-]{1,64}$/

export class Palette {
  /** By command and index as in the sequence ("4;1", "10"); undefined once taken back. */
  readonly #colors = new Map<string, string | undefined>()

  constructor(terminal: Terminal) {
    onCommand(terminal, paletteCommand, (text) => this.#setIndexed(text))
    onCommand(terminal, paletteCommand + resetOffset, (text) => this.#resetIndexed(text))
    for (let command = firstNamed; command <= lastNamed; command += 1) {
      onCommand(terminal, command, (text) => this.#setNamed(command, text))
      onCommand(terminal, command + resetOffset, () => this.#colors.set(String(command), undefined))
    }
    onReset(terminal, () => this.#resetAll())
  }

  sequences(): string {
    return [...this.#colors].map(([key, color]) => `\u001b]${color === undefined ? resetOf(key) : `${key};${color}`}\u001b\\`).join("")
  }

  #setIndexed(text: string): void {
    const parts = text.split(";")
    for (let i = 0; i + 1 < parts.length; i += 2) {
      const [index = "", color = ""] = parts.slice(i, i + 2)
      if (isIndex(index)) this.#set(`${paletteCommand};${Number(index)}`, color)
    }
  }

  #resetIndexed(text: string): void {
    if (text === "") return this.#resetAll(`${paletteCommand};`)
    for (const index of text.split(";")) if (isIndex(index)) this.#colors.set(`${paletteCommand};${Number(index)}`, undefined)
  }

  /** Several colours in one command are those of the numbers that follow. */
  #setNamed(first: number, text: string): void {
    for (const [i, color] of text.split(";").entries()) {
      if (first + i <= lastNamed) this.#set(String(first + i), color)
    }
  }

  #set(key: string, color: string): void {
    if (colorPattern.test(color)) this.#colors.set(key, color)
  }

  #resetAll(prefix = ""): void {
    for (const key of this.#colors.keys()) if (key.startsWith(prefix)) this.#colors.set(key, undefined)
  }
}

const isIndex = (text: string): boolean => /^\d{1,3}$/.test(text) && Number(text) < paletteSize

/** "4;1" is taken back by "104;1", "10" by "110". */
const resetOf = (key: string): string => key.replace(/^\d+/, (command) => String(Number(command) + resetOffset))
