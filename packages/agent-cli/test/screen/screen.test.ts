/** The screen of a process: what it takes, what its repaint holds beyond the cells, and what it bears. */
import { execFileSync } from "node:child_process"
import { describe, expect, it } from "vitest"
import { Screen, type ScreenOptions } from "../../src/screen/screen.ts"
import { Viewer } from "./viewer.ts"

const esc = "\u001b"
const size = { cols: 20, rows: 5 }

const write = (screen: Screen, output: string | Uint8Array): Promise<void> =>
  new Promise((resolve) => screen.write(typeof output === "string" ? Buffer.from(output) : output, resolve))

async function screenOf(output: string, options: ScreenOptions = size): Promise<Screen> {
  const screen = new Screen(options)
  await write(screen, output)
  return screen
}

const repaintOf = async (output: string): Promise<string> => Buffer.from((await screenOf(output)).repaint()).toString()

/** A terminal that got the repaint only, and then `rest`. */
async function attach(screen: Screen, rest = "", { cols, rows } = size): Promise<Viewer> {
  const viewer = new Viewer(cols, rows)
  await viewer.write(screen.repaint())
  await viewer.write(rest)
  return viewer
}

const lineAt = ({ terminal }: Viewer, y: number): string =>
  terminal.buffer.active.getLine(terminal.buffer.active.baseY + y)?.translateToString(true) ?? ""

describe("writing", () => {
  it("is done later, in order, and a resize takes its place between", async () => {
    const screen = new Screen(size)
    const events: string[] = []
    screen.write(Buffer.from(`${esc}[1;15Htext\r\n`), () => events.push("first"))
    screen.resize(10, 5)
    const last = new Promise<void>((resolve) => {
      screen.write(Buffer.from("y"), () => {
        events.push("second")
        resolve()
      })
    })
    expect(events).toEqual([])
    await last
    expect(events).toEqual(["first", "second"])
    const viewer = await attach(screen, "", { cols: 10, rows: 5 })
    expect([0, 1, 2].map((y) => lineAt(viewer, y))).toEqual(["", "    text", "y"])
  })

  it("may go on, and resize, when it is done", async () => {
    const screen = new Screen(size)
    const repaint = await new Promise<Uint8Array>((resolve) => {
      screen.write(Buffer.from("one"), () => {
        screen.resize(10, 5)
        resolve(screen.repaint())
      })
    })
    expect(Buffer.from(repaint).toString()).toContain(`${esc}[1;5r`)
    const viewer = new Viewer(10, 5)
    await viewer.write(repaint)
    // The tab stops are those of the new size.
    await viewer.write("\r\t\tx")
    expect(lineAt(viewer, 0)).toBe("one      x")
  })

  it("keeps characters whole that are cut between any two bytes", async () => {
    const text = "\u2014\u3000\u6f22\u{1f600}e\u0301"
    const screen = new Screen(size)
    for (const byte of Buffer.from(text)) await write(screen, Uint8Array.of(byte))
    expect(lineAt(await attach(screen), 0)).toBe(text)
  })

  it("takes a flood that is written at once", async () => {
    const screen = new Screen(size)
    const chunk = Buffer.alloc(1 << 20, "flood\r\n")
    const writes = Array.from({ length: 8 }, () => write(screen, chunk))
    await Promise.all(writes)
    await write(screen, "\r\nend")
    expect(lineAt(await attach(screen), 4)).toBe("end")
  })

  it("after the end is done without effect", async () => {
    const screen = await screenOf("one")
    screen.dispose()
    await write(screen, "two")
    screen.resize(3, 3)
  })
})

describe("hostile output", () => {
  it.each(["S", "T", "L", "M", "I", "Z", "b", "@", "P", "X", "A", "B", "C", "D", "E", "F", "G", "d", "e"])(
    "cannot stop the agent with a count for %s",
    async (final) => {
      const screen = await screenOf(`text${esc}[2147483647${final}`)
      expect(screen.repaint().length).toBeLessThan(100_000)
    },
  )

  it.each(["", "?"])("survives that all of a new screen is erased from its end (CSI %s1J)", async (prefix) => {
    const screen = await screenOf(`text${esc}[99;99H${esc}[${prefix}1J`)
    expect((await attach(screen)).view().normal).toEqual(["", "", "", "", ""])
  })

  it("cannot grow a cell with combining characters beyond a few", async () => {
    const screen = await screenOf(`a${"\u0301".repeat(1_000_000)}`)
    expect(screen.repaint().length).toBeLessThan(200_000)
  })

  it("cannot grow the title, a link, or the unfinished end of a sequence", async () => {
    const long = "x".repeat(1_000_000)
    const screen = await screenOf(`${esc}]2;${long}\u0007${esc}]8;;https://${long}\u0007text${esc}]52;c;${long}`)
    expect(screen.repaint().length).toBeLessThan(10_000)
    // What remains of the sequence is nothing to be seen.
    expect(lineAt(await attach(screen, `${long}\u0007 and text`), 0)).toBe("text and text")
  })

  it("keeps the links that are on the screen when a flood of others has passed", async () => {
    const link = (address: string) => `${esc}]8;;${address}${esc}\\x${esc}]8;;${esc}\\`
    const flood = Array.from({ length: 20_000 }, (_, i) => `\r${link(`https://flood.example/${i}`)}`).join("")
    const repaint = await repaintOf(`${link("https://kept.example")}\r\n${flood}`)
    expect(repaint).toContain("https://kept.example")
    expect(repaint).toContain("https://flood.example/19999")
    expect(repaint.match(/example/g)).toHaveLength(2)
  })
})

describe("a repaint", () => {
  it("keeps what the terminal had above its cursor", async () => {
    const viewer = new Viewer(20, 5)
    await viewer.write("mine 1\r\nmine 2\r\n$ attach\r\n")
    await viewer.write((await screenOf("theirs")).repaint())
    const lines = Array.from({ length: viewer.lineCount }, (_, y) => viewer.terminal.buffer.normal.getLine(y)?.translateToString(true))
    expect(lines).toEqual(["mine 1", "mine 2", "$ attach", "theirs", "", "", "", ""])
  })

  it("does not run the command that the terminal is within", async () => {
    const viewer = new Viewer(20, 5)
    const titles: string[] = []
    viewer.terminal.onTitleChange((title) => titles.push(title))
    await viewer.write(`text${esc}]2;half of a ti`)
    await viewer.write((await screenOf("")).repaint())
    expect(titles).toEqual([])
  })

  it("forgets where the terminal had its cursor saved", async () => {
    const viewer = new Viewer(20, 5)
    await viewer.write(`one\r\ntwo${esc}7`)
    await viewer.write((await screenOf("\n".repeat(9))).repaint())
    await viewer.write(`${esc}8home`)
    expect(lineAt(viewer, 0)).toBe("home")
  })

  it("has the normal screen with its scrollback beneath the alternate one", async () => {
    const shell = Array.from({ length: 9 }, (_, i) => `line ${i}\r\n`).join("")
    const screen = await screenOf(`${shell}$ vim${esc}[?1049h${esc}[2J${esc}[Hin vim`)
    const viewer = await attach(screen)
    expect(viewer.terminal.buffer.active.type).toBe("alternate")
    expect(lineAt(viewer, 0)).toBe("in vim")
    await viewer.write(`${esc}[?1049l left`)
    expect(lineAt(viewer, 4)).toBe("$ vim left")
    expect(viewer.terminal.buffer.normal.getLine(0)?.translateToString(true)).toBe("line 0")
  })

  it("holds no query, whatever was asked", async () => {
    const queries = ["[c", "[>c", "[6n", "[?25$p", "]10;?\u0007", "]4;1;?\u0007", "P$qr\u001b\\", "[14t", "[?u", "[>q", "Z"]
    const screen = await screenOf(queries.map((query) => esc + query).join(""))
    const viewer = await attach(screen)
    expect(viewer.answers).toBe("")
    expect(Buffer.from(screen.repaint()).toString()).not.toMatch(/\?u|>q|\$p|\$q|;\?|[0-9]n|c$/)
  })

  it("joins a combining character to the one before the cut, also while inserting and at the edge", async () => {
    for (const before of ["abc", `${esc}[4hab${esc}[Dc`, `${"x".repeat(19)}e`, `${esc}[3;4r${esc}[?6habc`]) {
      const whole = new Viewer(20, 5)
      await whole.write(`${before}\u0301!`)
      expect((await attach(await screenOf(before), "\u0301!")).view()).toEqual(whole.view())
    }
  })

  it("lets a repetition repeat the character before the cut", async () => {
    expect(lineAt(await attach(await screenOf("ab"), `${esc}[3b`), 0)).toBe("abbbb")
  })

  it("goes on within a sequence", async () => {
    expect(lineAt(await attach(await screenOf(`text${esc}[2`), "Dxx"), 0)).toBe("texx")
    expect(lineAt(await attach(await screenOf(`a${esc}]2;tit`), `le\u0007b`), 0)).toBe("ab")
    // The line feed within is done, and not to be done again.
    expect(lineAt(await attach(await screenOf(`a${esc}[\n1`), `mb`), 1)).toBe(" b")
  })

  it("keeps the columns to the right of emoji, as programs count them", async () => {
    const viewer = await attach(await screenOf("\u{1f600}|\u{1f469}\u200d\u{1f4bb}|"))
    expect(viewer.terminal.buffer.active.getLine(0)?.getCell(2)?.getChars()).toBe("|")
    expect(viewer.terminal.buffer.active.getLine(0)?.getCell(7)?.getChars()).toBe("|")
  })

  it.each([
    ["the shape of the cursor", "[5 q", "[5 q"],
    ["reports of the mouse", "[?1002h\u001b[?1006h", "[?1002h\u001b[?1006h"],
    ["an old encoding of the mouse", "[?1000h\u001b[?1015h", "[?1015h"],
    ["reports of the focus", "[?1004h", "[?1004h"],
    ["bracketed paste", "[?2004h", "[?2004h"],
    ["a reversed screen", "[?5h", "[?5h"],
    ["the keypad", "=", "="],
    ["flags of kitty's keyboard", "[>1u\u001b[>5u", "[>1u\u001b[>5u"],
    ["flags that were taken back in part", "[>1u\u001b[>5u\u001b[<u", "[>1u"],
    ["flags that were changed", "[=3;1u\u001b[=8;2u", "[=11;1u"],
    ["modified keys", "[>4;2m", "[>4;2m"],
    ["the title", "]2;a title\u0007", "]2;a title\u001b\\"],
    ["the name of the icon", "]1;an icon\u0007", "]1;an icon\u001b\\"],
    [
      "a title that was put aside",
      "]2;first\u0007\u001b[22;0t\u001b]2;second\u0007",
      "]2;first\u001b\\\u001b[22;2t\u001b]2;second\u001b\\",
    ],
    ["a colour of the palette", "]4;1;#ff0000\u0007", "]4;1;#ff0000\u001b\\"],
    ["a colour that was taken back", "]4;1;#ff0000\u0007\u001b]104\u0007", "]104;1\u001b\\"],
    ["the colours of text and background", "]10;red;blue\u0007", "]10;red\u001b\\\u001b]11;blue\u001b\\"],
    ["a kind and colour of underlines", "[4:3;58:2::1:2:3mx", "[0;4:3;58:2::1:2:3mx"],
    ["bold and faint at once", "[1;2mx", "[0;1;2mx"],
    ["a link", "]8;id=7;https://a.example\u0007x", "]8;id=7;https://a.example\u001b\\"],
    ["margins", "[2;4r", "[2;4r"],
  ])("has %s", async (_, output, expected) => {
    expect(await repaintOf(esc + output)).toContain(esc + expected)
    expect(await repaintOf("")).not.toContain(esc + expected)
  })

  it.each([
    ["a hidden cursor", "[?25l", "[?25h"],
    ["an open frame", "[?2026h", "[?2026l"],
    ["the plain shape of the cursor", "[5 q\u001b[0 q", "[5 q"],
    ["the plain keypad", "=\u001b>", "="],
  ])("leaves %s as it is", async (_, output, absent) => {
    expect(await repaintOf(esc + output)).not.toContain(esc + absent)
  })

  it("has the keyboard of each screen", async () => {
    const repaint = await repaintOf(`${esc}[>1u${esc}[?1049h${esc}[>2u`)
    const entry = repaint.indexOf(`${esc}[?1049h`)
    expect(repaint.indexOf(`${esc}[>1u`)).toBeLessThan(entry)
    expect(repaint.indexOf(`${esc}[>2u`)).toBeGreaterThan(entry)
  })

  it("leaves a title and colours alone that no program has set", async () => {
    expect(await repaintOf("text")).not.toMatch(/\](?!8;;)/)
  })

  it("forgets with a reset what programs had set", async () => {
    const repaint = await repaintOf(`${esc}[>1u${esc}[>4;2m${esc}[?5h${esc}]10;red\u0007${esc}c`)
    expect(repaint).not.toMatch(/>1u|>4;2m|\?5h|red/)
    expect(repaint).toContain(`${esc}]110${esc}\\`)
  })

  it("keeps as many lines as it was told", async () => {
    const lines = Array.from({ length: 50 }, (_, i) => `line ${i}`).join("\r\n")
    const screen = await screenOf(lines, { ...size, scrollbackLines: 10 })
    const viewer = await attach(screen)
    expect(viewer.terminal.buffer.normal.getLine(0)?.translateToString(true)).toBe("line 35")
    expect(viewer.lineCount).toBe(15)
  })
})

it("is loaded with the first screen only", () => {
  const url = new URL("../../src/screen/screen.ts", import.meta.url).href
  const script = `await import(${JSON.stringify(url)}); const { createRequire } = await import("node:module")
    console.log(Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes("xterm")))`
  expect(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" })).toBe("false\n")
})
