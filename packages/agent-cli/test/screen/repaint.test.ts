/** Any output cut anywhere: a terminal that gets the repaint and the rest becomes equal to one that got everything. */
import fc from "fast-check"
import { expect, it } from "vitest"
import { Screen } from "../../src/screen/screen.ts"
import { garbage, output } from "./sequences.ts"
import { Viewer } from "./viewer.ts"

const scrollbackLines = 20
/** Five columns and two rows at least: smaller ones have limits of their own. */
const anySize = fc.record({ cols: fc.integer({ min: 5, max: 16 }), rows: fc.integer({ min: 2, max: 7 }) })
const share = fc.double({ min: 0, max: 1, noNaN: true })

/** Whatever may be the state of a terminal: in the middle of a sequence, of a character, on the alternate screen with everything set. */
const priorStates = [
  "",
  "$ command\r\n",
  [
    "\u001b[?1049h\u001b[2;3r\u001b[?6h\u001b[4h\u001b[20h\u001b[?7l\u001b[1;4:3;44mtext\u001b(0",
    '\u001b[1"q\u001b]8;;https://c.example\u0007\u001b[?1003;1016;2004;45h',
  ].join(""),
  "above\r\n\u001b[3g\u001b)0\u000e\u001b[?25l\u001b[5 q\u001b[3;4Hbelow\u001b7\u001b]2;unfinished",
  "\u001b[41mfilled\u001b[2J\u001b[1;3r\u001b[?2026h\u001b[?1h\u001b=\u001bP1;",
].map((text) => Buffer.from(text))

const write = (screen: Screen, bytes: Uint8Array): Promise<void> => new Promise((resolve) => screen.write(bytes, resolve))
const text = (screen: Screen): string => Buffer.from(screen.repaint()).toString("latin1")

const start = ({ cols, rows }: { cols: number; rows: number }) => ({
  viewer: new Viewer(cols, rows, scrollbackLines),
  screen: new Screen({ cols, rows, scrollbackLines }),
})
const feed = ({ viewer, screen }: ReturnType<typeof start>, bytes: Uint8Array) => Promise.all([viewer.write(bytes), write(screen, bytes)])
const cutAt = (bytes: Buffer, where: number) => {
  const cut = Math.floor(bytes.length * where)
  return [bytes.subarray(0, cut), bytes.subarray(cut)] as const
}

it("makes a fresh terminal equal, now and after what follows", async () => {
  const property = fc.asyncProperty(output(100), anySize, share, async (bytes, { cols, rows }, where) => {
    const [before, after] = cutAt(bytes, where)
    const [whole, attached] = [start({ cols, rows }), start({ cols, rows })]
    await feed(whole, before)
    await feed(attached, whole.screen.repaint())
    expect(attached.viewer.view()).toEqual(whole.viewer.view())
    expect(text(attached.screen)).toBe(text(whole.screen))
    expect(attached.viewer.answers).toBe("")
    await Promise.all([feed(whole, after), feed(attached, after)])
    expect(attached.viewer.view()).toEqual(whole.viewer.view())
    expect(text(attached.screen)).toBe(text(whole.screen))
    expect(await attached.viewer.report()).toBe(await whole.viewer.report())
  })
  await fc.assert(property, { numRuns: 100 })
})

it("makes a terminal in any state equal", async () => {
  const property = fc.asyncProperty(
    output(60),
    anySize,
    share,
    fc.constantFrom(...priorStates),
    async (bytes, { cols, rows }, where, prior) => {
      const [before, after] = cutAt(bytes, where)
      const whole = start({ cols, rows })
      const attached = new Viewer(cols, rows, 2 * scrollbackLines)
      await Promise.all([feed(whole, before), attached.write(prior)])
      await attached.write(whole.screen.repaint())
      expect(attached.view(whole.viewer.lineCount)).toEqual(whole.viewer.view())
      await Promise.all([whole.viewer.write(after), attached.write(after)])
      expect(attached.view(whole.viewer.lineCount)).toEqual(whole.viewer.view())
      expect(await attached.report()).toBe(await whole.viewer.report())
    },
  )
  await fc.assert(property, { numRuns: 100 })
})

it("makes a terminal that reflows as the other does when both are resized", async () => {
  const property = fc.asyncProperty(output(60), anySize, anySize, async (bytes, { cols, rows }, later) => {
    const [whole, attached] = [new Viewer(cols, rows, scrollbackLines), new Viewer(cols, rows, scrollbackLines)]
    const screen = new Screen({ cols, rows, scrollbackLines })
    await Promise.all([whole.write(bytes), write(screen, bytes)])
    await attached.write(screen.repaint())
    for (const { terminal } of [whole, attached]) terminal.resize(later.cols, later.rows)
    expect(attached.view()).toEqual(whole.view())
  })
  await fc.assert(property, { numRuns: 100 })
})

it("makes a terminal equal in the middle of what is no valid sequence", async () => {
  const property = fc.asyncProperty(garbage, anySize, share, async (bytes, { cols, rows }, where) => {
    const [before, after] = cutAt(bytes, where)
    const [whole, attached] = [start({ cols, rows }), start({ cols, rows })]
    await feed(whole, before)
    await feed(attached, whole.screen.repaint())
    await Promise.all([feed(whole, after), feed(attached, after)])
    expect(attached.viewer.view()).toEqual(whole.viewer.view())
  })
  await fc.assert(property, { numRuns: 150 })
})

it.each([
  ["halves of wide characters overwritten in another look", "\u6f22\u5b57\u001b[4;31m\u001b[1;2Hx\u001b[1;3Hy"],
  ["a wide character that did not fit at the edge", "\u001b[7mabc\u6f22\u6f22\u6f22\u001b[m\u6f22"],
  ["halves at the edge, side by side", "abc\u6f22\u6f22\u001b[7m\u001b[1;6H!\u001b[1;5H\u001b[1;9Hz\u001b[1;4Hx\u001b[2T\u6f22"],
  ["a combining character that has nothing to combine with", "\t\u0301x\u001b[2;1Hab\u001b[m\u0301y"],
  ["a palette colour after one of 24 bits", "\u001b[38;2;9;8;7m\u001b[31mx\u001b[m\u001b[31my"],
  ["colours erased to the edge, and a line that goes on from there", "\u001b[41mabcdefgh\u001b[1;5H\u001b[K\u001b[2;1Hmore\u001b[m"],
  ["a line erased under a pending wrap", "abcdefg\u001b[2K\u001b[44m\u001b[1K!"],
  ["a cursor that was never saved, or above the lines there are", "1\r\n2\r\n3\r\n4\r\n5\r\n6\u001b[3J\u001b8x"],
  ["a character set that comes back with the cursor", "\u001b7\u001b(0q\u001b8q"],
  ["a character that its own set would replace", "\u001b(4a]b"],
  ["the rest of a command that a bell ended", "\u001b]2;title\u0007text"],
  ["texts for devices and for nobody that a character ends", "\u001bP1\u00e9x\u001b_a\u00e9y"],
  ["a malformed sequence with a character within", "\u001b[0<\u00e95Hx"],
  ["a line that begins above the alternate screen", "\u001b[?1049h\u001b[Habcdefghij\u001b[9;1H\n\n\nabcdefghijkl\n\n"],
])("restores %s, at every cut", async (_, output) => {
  const bytes = Buffer.from(output)
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const [whole, attached] = [start({ cols: 7, rows: 4 }), start({ cols: 7, rows: 4 })]
    await feed(whole, bytes.subarray(0, cut))
    await feed(attached, whole.screen.repaint())
    expect(attached.viewer.view(), `at ${cut}`).toEqual(whole.viewer.view())
    expect(text(attached.screen), `at ${cut}`).toBe(text(whole.screen))
    await Promise.all([feed(whole, bytes.subarray(cut)), feed(attached, bytes.subarray(cut))])
    expect(attached.viewer.view(), `cut at ${cut}`).toEqual(whole.viewer.view())
  }
})
