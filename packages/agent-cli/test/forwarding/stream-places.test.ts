import { describe, expect, test } from "vitest"
import { type StreamAgent, StreamPlaces, streamsPerLinkMax } from "../../src/forwarding/stream-places.ts"

const handles = (count: number): readonly StreamAgent[] =>
  Array.from({ length: count }, () => ({
    connect: () => Promise.reject(new Error("not asked for")),
    listen: () => Promise.reject(new Error("not asked for")),
  }))

const takeAll = (places: StreamPlaces, count: number) => Promise.all(Array.from({ length: count }, () => places.take()))

/** Whether it is settled once all that is due has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  void promise.then(() => {
    settled = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  return settled
}

describe("places for streams", () => {
  test("fill the first link before the next is used, and no link beyond its bound", async () => {
    const [first, second] = handles(2)
    const places = new StreamPlaces([first, second].filter((agent) => agent !== undefined))
    const taken = await takeAll(places, 2 * streamsPerLinkMax)
    const agents = taken.map(({ agent }) => agent)
    expect(agents.slice(0, streamsPerLinkMax).every((agent) => agent === first)).toBe(true)
    expect(agents.slice(streamsPerLinkMax).every((agent) => agent === second)).toBe(true)
    expect(await isSettled(places.take())).toBe(false)
  })

  test("that are given back go to those who wait, in their order, and only once", async () => {
    const [only] = handles(1)
    const places = new StreamPlaces(only === undefined ? [] : [only])
    const [place] = await takeAll(places, streamsPerLinkMax)
    const [next, last] = [places.take(), places.take()]
    place?.release()
    place?.release()
    expect(await isSettled(next)).toBe(true)
    expect(await isSettled(last)).toBe(false)
    ;(await next).release()
    expect(await isSettled(last)).toBe(true)
  })

  test("on one link are not given to who asks for another, and do not hold up who waits behind", async () => {
    const [first, second] = handles(2)
    const places = new StreamPlaces([first, second].filter((agent) => agent !== undefined))
    const taken = await takeAll(places, 2 * streamsPerLinkMax)
    const onFirst = places.take(first)
    const anywhere = places.take()
    taken.at(-1)?.release()
    expect(await isSettled(onFirst)).toBe(false)
    expect((await anywhere).agent).toBe(second)
    taken[0]?.release()
    expect((await onFirst).agent).toBe(first)
  })
})
