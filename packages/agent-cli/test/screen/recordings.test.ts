/** What real programs wrote: one who attaches at any byte of it has the same terminal as one who saw it from the start. */
import { readdirSync, readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"
import { expect, it } from "vitest"
import { Screen } from "../../src/screen/screen.ts"
import { Viewer } from "./viewer.ts"

/** Attaches tried in each recording: a third each at escape sequences, within them, and anywhere, as within characters. */
const cutCount = 48
/** Every so many attaches one that stays to the end: the others stay until the next. */
const stayEvery = 12
/** Lines compared cell by cell at each attach; those above are in the bytes of the repaint. */
const comparedLines = 60

const folder = new URL("./recordings/", import.meta.url)
const names = readdirSync(folder).filter((name) => name.endsWith(".gz"))

/** A client with the model behind it, which could be attached to in turn. */
interface Attached {
  readonly viewer: Viewer
  readonly screen: Screen
  readonly cut: number
}

const write = (screen: Screen, bytes: Uint8Array): Promise<void> => new Promise((resolve) => screen.write(bytes, resolve))
const feed = ({ viewer, screen }: Omit<Attached, "cut">, bytes: Uint8Array) => Promise.all([viewer.write(bytes), write(screen, bytes)])
const text = (screen: Screen): string => Buffer.from(screen.repaint()).toString("latin1")

function end({ viewer, screen }: Attached): void {
  viewer.terminal.dispose()
  screen.dispose()
}

function cutPoints(bytes: Uint8Array): number[] {
  const sequences = [...bytes.keys()].filter((i) => bytes[i] === 0x1b)
  const characters = [...bytes.keys()].filter((i) => ((bytes[i] ?? 0) & 0xc0) === 0x80)
  const spread = (points: readonly number[], count: number) =>
    Array.from({ length: count }, (_, i) => points[Math.floor((i * points.length) / count)] ?? 0)
  const third = cutCount / 3
  const within = characters.length > 0 ? characters : [...bytes.keys()]
  const points = [...spread(sequences, third), ...spread(sequences, third).map((at, i) => at + 1 + (i % 4)), ...spread(within, third)]
  return [...new Set(points)].filter((at) => at < bytes.length).sort((a, b) => a - b)
}

it.each(names)("%s looks the same from any byte on", async (name) => {
  const [, cols = 0, rows = 0] = /-(\d+)x(\d+)\.gz$/.exec(name)?.map(Number) ?? []
  const bytes = gunzipSync(readFileSync(new URL(name, folder)))
  const whole: Attached = { viewer: new Viewer(cols, rows), screen: new Screen({ cols, rows }), cut: 0 }
  const leaving: Attached[] = []
  const staying: Attached[] = []
  let at = 0
  for (const [i, cut] of [...cutPoints(bytes), bytes.length].entries()) {
    const chunk = bytes.subarray(at, cut)
    at = cut
    await Promise.all([whole, ...leaving, ...staying].map((attached) => feed(attached, chunk)))
    const lineCount = Math.min(comparedLines, whole.viewer.lineCount)
    const view = whole.viewer.view(lineCount)
    const repaint = text(whole.screen)
    for (const attached of leaving.splice(0)) {
      expect(attached.viewer.view(lineCount), `attached at ${attached.cut}, seen at ${cut}`).toEqual(view)
      expect(text(attached.screen), `attached at ${attached.cut}, attached to at ${cut}`).toBe(repaint)
      end(attached)
    }
    const attached = { viewer: new Viewer(cols, rows), screen: new Screen({ cols, rows }), cut }
    await feed(attached, whole.screen.repaint())
    expect(attached.viewer.view(lineCount), `attached at ${cut}`).toEqual(view)
    expect(attached.viewer.answers).toBe("")
    if (i % stayEvery === 0) staying.push(attached)
    else leaving.push(attached)
  }
  const view = whole.viewer.view()
  const report = await whole.viewer.report()
  for (const attached of staying) {
    expect(attached.viewer.view(view.normal.length), `attached at ${attached.cut}, seen at the end`).toEqual(view)
    expect(text(attached.screen)).toBe(text(whole.screen))
    expect(await attached.viewer.report()).toBe(report)
  }
  for (const attached of [whole, ...leaving, ...staying]) end(attached)
})
