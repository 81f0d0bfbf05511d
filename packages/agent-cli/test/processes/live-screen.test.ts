/** When a terminal's model is fed, when the process waits for it, and what whoever wants to see the screen gets. */
import { VirtualClock } from "@trunkline/protocol/testing"
import { beforeEach, describe, expect, test } from "vitest"
import { Journal } from "../../src/processes/journal.ts"
import { LiveScreen } from "../../src/processes/live-screen.ts"
import { FakeModel, outputAt, screenText } from "./tracked-bench.ts"

let clock: VirtualClock
let journal: Journal
let model: FakeModel
let holds: boolean[]
let screen: LiveScreen
let capacityBytes: number
/** What the model has been given and is not done with. */
let pending: (() => void)[]

beforeEach(() => {
  clock = new VirtualClock()
  capacityBytes = 1_000_000
  journal = new Journal(() => capacityBytes)
  model = new FakeModel()
  holds = []
  pending = []
  screen = new LiveScreen({ clock, journal, model, hold: (held) => holds.push(held) })
})

const write = (length: number): void => {
  journal.append("stdout", outputAt(journal.to, length))
  screen.appended()
}

const slowly = (): void => {
  model.work = (done) => pending.push(done)
}

const work = (count = 1): void => {
  for (let done = 0; done < count; done++) pending.shift()?.()
}

const repaints = (): string[] => {
  const seen: string[] = []
  screen.repaint((bytes) => seen.push(new TextDecoder().decode(bytes)))
  return seen
}

describe("a live screen", () => {
  test("is fed after a moment of quiet, however often something is written meanwhile", () => {
    write(10)
    clock.advance(15)
    write(10)
    expect(model.log).toEqual([])
    clock.advance(5)
    expect(model.log).toEqual(["+20"])
    write(5)
    clock.advance(20)
    expect(model.log).toEqual(["+20", "+5"])
  })

  test("is fed at once when much waits, 16 KiB at a time", () => {
    slowly()
    write(70_000)
    expect(model.log).toEqual(["+16384"])
    work()
    expect(pending).toHaveLength(0)
    for (let round = 0; round < 4; round++) {
      clock.advance(20)
      work()
    }
    expect(model.fedBytes).toBe(70_000)
  })

  test("has the process wait while it is 128 KiB behind, until it is less than half of that", () => {
    slowly()
    write(131_071)
    expect(holds).toEqual([])
    write(1)
    expect(holds).toEqual([true])
    work(4)
    expect(holds).toEqual([true])
    work()
    expect(holds).toEqual([true, false])
  })

  test("that never catches up has the process wait again and again", () => {
    slowly()
    for (let count = 0; count < 100; count++) {
      if (holds.at(-1) !== true) write(20_000)
      work()
    }
    expect(journal.to - model.fedBytes).toBeLessThan(160_000)
    expect(holds.slice(0, 3)).toEqual([true, false, true])
  })

  test("is resized between the bytes before and those after", () => {
    write(10)
    screen.resize(100, 30)
    write(5)
    screen.resize(90, 20)
    screen.resize(91, 20)
    clock.advance(20)
    clock.advance(20)
    clock.advance(20)
    expect(model.log).toEqual(["+10", "100x30", "+5", "90x20", "91x20"])
  })

  test("is repainted when all that was written has been taken, and the process waits that long", () => {
    slowly()
    write(20_000)
    const seen = repaints()
    expect([holds, seen]).toEqual([[true], []])
    // Already on its way when the process was told to wait.
    write(10)
    work()
    expect(seen).toEqual([])
    work()
    expect(seen).toEqual([screenText(20_010)])
    expect(holds).toEqual([true, false])
  })

  test("is repainted at once when nothing waits, once for all who ask", () => {
    write(10)
    clock.advance(20)
    expect(repaints()).toEqual([screenText(10)])
    slowly()
    write(10)
    const [one, other] = [repaints(), repaints()]
    work()
    expect([one, other]).toEqual([[screenText(20)], [screenText(20)]])
    expect(model.log.filter((entry) => entry === "repaint")).toHaveLength(2)
    expect(holds.at(-1)).toBe(false)
  })

  test("gives another repaint to whoever asks from within the answer", () => {
    const seen: string[] = []
    write(10)
    screen.repaint(() => {
      write(7)
      screen.repaint((bytes) => seen.push(new TextDecoder().decode(bytes)))
    })
    expect(seen).toEqual([screenText(17)])
    expect(holds.at(-1)).toBe(false)
  })

  test("goes on with what is kept where the journal could not wait for it", () => {
    slowly()
    write(10)
    clock.advance(20)
    capacityBytes = 300
    for (let count = 0; count < 10; count++) journal.append("stdout", new Uint8Array(5_000))
    model.write = (bytes, done) => {
      model.log.push(`+${bytes.byteLength}`)
      done()
    }
    work()
    clock.advance(20)
    expect(journal.from).toBeGreaterThan(10)
    expect(model.log).toEqual(["+10", `+${Math.min(journal.to - journal.from, 16_384)}`])
  })

  test("that is disposed of gives an empty repaint to those who wait, and is never fed again", () => {
    slowly()
    write(40_000)
    const seen = repaints()
    screen.dispose()
    expect([seen, model.disposed]).toEqual([[""], true])
    work()
    clock.advance(1_000)
    expect(model.log).toEqual(["+16384"])
  })

  test("that is disposed of forgets what it was about to be fed", () => {
    write(10)
    screen.dispose()
    clock.advance(1_000)
    expect(model.log).toEqual([])
  })
})
