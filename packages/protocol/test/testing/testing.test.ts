/** The instruments themselves: a clock or a die that is wrong would make every other test say nothing. */
import { describe, expect, test } from "vitest"
import { AgentEnd, ClientEnd, ScriptedPeer, SeededRandom, SimulatedLine, VirtualClock } from "../../src/testing/index.ts"

describe("virtual clock", () => {
  test("timers run in order of time, those of one time in order of scheduling, deferred tasks before any", () => {
    const clock = new VirtualClock()
    const order: string[] = []
    for (const delay of [5, 1, 5, 3, 0]) clock.schedule(delay, () => order.push(`${delay}@${clock.now()}`))
    clock.defer(() => order.push("deferred"))
    clock.schedule(2, () => order.push("cancelled"))()
    clock.advance(4)
    expect(order).toEqual(["deferred", "0@0", "1@1", "3@3"])
    expect(clock.now()).toBe(4)
    expect(clock.run()).toBe(true)
    expect(order.slice(4)).toEqual(["5@5", "5@5"])
  })

  test("a thousand timers in any order run in order of time", () => {
    const clock = new VirtualClock()
    const random = new SeededRandom(5)
    const ran: number[] = []
    for (let count = 0; count < 1_000; count++) {
      const delayMs = random.integer(0, 100_000)
      clock.schedule(delayMs, () => ran.push(delayMs))
    }
    clock.run()
    expect(ran).toEqual([...ran].sort((one, other) => one - other))
    expect(ran).toHaveLength(1_000)
  })
})

describe("seeded random", () => {
  test("a seed gives one sequence, another seed another, also above 2^32", () => {
    const first = (seed: bigint | number) => new SeededRandom(seed).u32()
    expect(first(7)).toBe(first(7n))
    const seeds = [
      ...Array.from({ length: 500 }, (_, index) => BigInt(index)),
      ...Array.from({ length: 500 }, (_, index) => BigInt(index) << 32n),
    ]
    expect(new Set(seeds.map((seed) => `${first(seed)}`)).size).toBeGreaterThan(990)
  })

  test("integers cover their range and nothing else", () => {
    const random = new SeededRandom(1)
    const seen = new Set(Array.from({ length: 1_000 }, () => random.integer(3, 6)))
    expect([...seen].sort()).toEqual([3, 4, 5, 6])
  })
})

describe("two real ends", () => {
  test("[LC4] a newer hello with the secret resumes; an older one, another secret or an unknown link is refused", () => {
    const clock = new VirtualClock()
    const agent = new AgentEnd(() => ({ link: { clock } }))
    const client = new ClientEnd({ link: { clock } })
    const first = client.hello()
    const second = client.hello()
    const say = (hello: ReturnType<ClientEnd["hello"]>) => {
      const peer = new ScriptedPeer()
      peer.attach(agent.attach(peer.transport))
      peer.sayControl(hello)
      clock.run()
      return peer.controls.at(-1)
    }
    expect(say(first)).toMatchObject({ type: "welcome", resumed: false })
    expect(say(second)).toMatchObject({ type: "welcome", resumed: true })
    expect(say(first)).toMatchObject({ type: "refused", code: "denied" })
    expect(say({ ...second, attempt: 9, secret: "t".repeat(43) })).toMatchObject({ type: "refused", code: "denied" })
    expect(say({ ...second, attempt: 2, link: "m".repeat(22) })).toMatchObject({ type: "refused", code: "agent-restarted" })
    expect(say({ ...first, link: "n".repeat(22), protocol: { min: 2, max: 3 } })).toMatchObject({
      type: "refused",
      code: "unsupported-version",
    })
    expect(agent.links.size).toBe(1)
  })

  test("[LC1] what comes before a hello is dropped", () => {
    const clock = new VirtualClock()
    const agent = new AgentEnd(() => ({ link: { clock } }))
    const peer = new ScriptedPeer()
    peer.attach(agent.attach(peer.transport))
    peer.sayBody(new Uint8Array(9), { offset: 500 })
    peer.sayBytes(new Uint8Array(3))
    expect(peer.heard).toEqual([])
    peer.sayControl(new ClientEnd({ link: { clock } }).hello())
    clock.run()
    expect(peer.controls).toMatchObject([{ type: "welcome" }])
  })

  test("a line loses what is on the way when it is cut, and tells each end in its time", () => {
    const clock = new VirtualClock()
    const heard: string[] = []
    const line = new SimulatedLine({ clock, random: new SeededRandom(1), delayMs: 10, jitterMs: 0, bytesPerMs: 1_000 })
    const events = (side: string) => ({
      message: () => heard.push(`${side} message @${clock.now()}`),
      drained: () => undefined,
      closed: (code: number) => heard.push(`${side} closed ${code} @${clock.now()}`),
    })
    line.listen("left", events("left"))
    line.listen("right", events("right"))
    line.left.send(new Uint8Array(1_000))
    clock.advance(5)
    line.left.send(new Uint8Array(1_000))
    clock.advance(7)
    line.cut(1, 50)
    clock.run()
    expect(heard).toEqual(["right message @11", "left closed 1006 @13", "right closed 1006 @62"])
  })
})
