/** The title of the window, the name of its icon, and titles that were put aside. */
import type { Xterm } from "./xterm.ts"

/** Characters of a title: longer ones nobody reads, and they would stay in memory. */
const titleMax = 4096

export class Titles {
  readonly #xterm: Xterm
  #isSet = false

  constructor(xterm: Xterm) {
    this.#xterm = xterm
    const { terminal } = xterm
    terminal.onTitleChange(() => {
      this.#isSet = true
    })
    for (const command of [0, 1, 2]) terminal.parser.registerOscHandler(command, (text) => text.length > titleMax)
  }

  /** Nothing where no program ever set one: the title is the user's own. */
  sequences(): string {
    const { _iconName: icon, _windowTitle: title, _windowTitleStack: stack } = this.#xterm.core._inputHandler
    const aside = stack.map((older) => `${older === "" ? "" : setTitle(older)}\u001b[22;2t`)
    return [...aside, icon === "" ? "" : `\u001b]1;${icon}\u001b\\`, this.#isSet ? setTitle(title) : ""].join("")
  }
}

const setTitle = (title: string): string => `\u001b]2;${title}\u001b\\`
