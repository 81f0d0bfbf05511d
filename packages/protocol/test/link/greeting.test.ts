/** Greetings of a new link, and the data that they carry (SPEC LC8). */
import { describe, expect, test } from "vitest"
import { controlOffset, type Frame, frameBytes, Link, type LinkControl, limits, writeFrame } from "../../src/index.ts"
import { ScriptedPeer, VirtualClock } from "../../src/testing/index.ts"
import { brokenRule, data, hello, openLink, QueueUser, welcome } from "./queue-user.ts"

/** The body of a control message with data behind it, made here byte by byte. */
function carried(control: LinkControl, frames: readonly Frame[]): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(control))
  const body = new Uint8Array(json.byteLength + 1 + frames.reduce((bytes, frame) => bytes + frameBytes(frame), 0))
  body.set(json)
  let at = json.byteLength + 1
  for (const frame of frames) at = writeFrame(body, at, frame)
  return body
}

function open(attach: (link: Link, peer: ScriptedPeer) => ReturnType<Link["start"]>) {
  const clock = new VirtualClock()
  const user = new QueueUser()
  const link = new Link({ clock }, user)
  const peer = new ScriptedPeer()
  const sizes: number[] = []
  const { transport } = peer
  const { send } = transport
  transport.send = (message) => {
    sizes.push(message.byteLength)
    send(message)
  }
  peer.attach(attach(link, peer))
  return { clock, user, link, peer, sizes }
}

const start = () => open((link, peer) => link.start(peer.transport, hello()))
const welcoming = (fields: { received?: number; resumed?: boolean } = {}) =>
  open((link, peer) => link.welcome(peer.transport, { received: hello(1, fields.received).received, window: 1_048_576 }, welcome(fields)))

describe("a client", () => {
  test("[LC8] greets in one message with what is to be sent in the same turn", () => {
    const { clock, user, link, peer, sizes } = start()
    expect(sizes).toHaveLength(0)
    user.queue = [data(100), data(50)]
    link.wake()
    clock.settle()
    expect(sizes).toHaveLength(1)
    expect(peer.heard).toMatchObject([
      { type: "control", control: { type: "hello", attempt: 1 } },
      { type: "frames", offset: 0, ack: 0, bodyBytes: 168 },
    ])
    expect(link.inFlightBytes).toBe(168)
  })

  test("[LC8] greets alone where there is nothing to send, and sends what comes later without a greeting", () => {
    const { clock, user, link, sizes, peer } = start()
    clock.settle()
    expect(peer.heard).toMatchObject([{ type: "control", control: { type: "hello" } }])
    user.queue = [data(1)]
    link.wake()
    clock.settle()
    expect(sizes).toHaveLength(2)
  })

  test("[LC8] that resumes carries nothing before the welcome, and sends again what its greeting carried", () => {
    const { clock, user, link, peer } = start()
    user.queue = [data(100)]
    link.wake()
    clock.settle()
    peer.sayControl(welcome())
    peer.hangUp()
    const second = new ScriptedPeer()
    second.attach(link.resume(second.transport, hello(2)))
    clock.settle()
    expect(second.heard).toMatchObject([{ type: "control", control: { type: "hello", attempt: 2 } }])
    second.sayControl(welcome({ resumed: true }))
    expect(second.heard[1]).toMatchObject({ type: "frames", offset: 0, bodyBytes: 109 })
  })

  test("[LC8] takes the data of a welcome, with the ack in front of it", () => {
    const { clock, user, link, peer } = start()
    user.queue = [data(100)]
    link.wake()
    clock.settle()
    peer.sayBody(carried(welcome(), [data(7), data(8)]), { offset: controlOffset, ack: 109 })
    expect(link.phase).toBe("open")
    expect(user.received).toHaveLength(2)
    expect(link.received).toBe(7 + 8 + 2 * 9)
    expect(link.inFlightBytes).toBe(0)
  })

  test("[LC8] looks at no data behind a refusal, and ends where an ack in front of data lies", () => {
    const refused = start()
    refused.clock.settle()
    refused.peer.sayBody(carried({ type: "refused", code: "denied", message: "no" }, [data(7)]), { offset: controlOffset, ack: 0 })
    expect([refused.user.received, brokenRule(refused.user)]).toEqual([[], "LC8"])
    const lying = start()
    lying.clock.settle()
    lying.peer.sayBody(carried(welcome(), [data(7)]), { offset: controlOffset, ack: 1 })
    expect([lying.user.received, brokenRule(lying.user)]).toEqual([[], "LK5"])
  })
})

describe("an agent's end", () => {
  test("[LC8] welcomes a new link in one message with its first data", () => {
    const { clock, user, link, peer, sizes } = welcoming()
    clock.advance(limits.ackDelayMs - 1)
    expect(sizes).toHaveLength(0)
    peer.sayFrames([data(10)])
    user.queue = [data(100)]
    link.wake()
    clock.settle()
    expect(sizes).toHaveLength(1)
    expect(peer.heard).toMatchObject([
      { type: "control", control: { type: "welcome", resumed: false } },
      { type: "frames", offset: 0, ack: 19, bodyBytes: 109 },
    ])
    clock.advance(1_000)
    expect(sizes).toHaveLength(1)
  })

  test("[LC8] welcomes a new link after 5 ms without any", () => {
    const { clock, peer } = welcoming()
    clock.advance(limits.ackDelayMs)
    expect(peer.heard).toMatchObject([{ type: "control", control: { type: "welcome" } }])
    clock.advance(1_000)
    expect(peer.heard).toHaveLength(1)
  })

  test("[LC8] welcomes first, whatever it has to say", () => {
    const { link, peer } = welcoming()
    link.setWindow(65_536)
    expect(peer.controls).toMatchObject([{ type: "welcome" }, { type: "window", window: 65_536 }])
  })

  test("[LC8] welcomes a link that comes back at once", () => {
    const { peer } = welcoming({ resumed: true })
    expect(peer.controls).toMatchObject([{ type: "welcome", resumed: true }])
  })

  test("[LC8] that is lost before it has welcomed has sent nothing, and does not greet on the next line", () => {
    const { clock, link, peer } = welcoming()
    peer.hangUp()
    const second = new ScriptedPeer()
    second.attach(link.welcome(second.transport, { received: hello().received, window: 1_048_576 }, welcome({ resumed: true })))
    clock.advance(1_000)
    expect(peer.heard).toEqual([])
    expect(second.controls).toHaveLength(1)
  })
})

test.each<readonly [string, LinkControl]>([
  ["a window", { type: "window", window: 65_536 }],
  ["an end", { type: "end", code: "aborted", message: "" }],
  ["the hello of a later attempt", hello(2)],
  ["the welcome to one", welcome({ resumed: true })],
])("[LC8] data behind %s ends the link", (_, control) => {
  const { user, peer } = openLink()
  peer.sayBody(carried(control, [data(7)]), { offset: controlOffset, ack: 0 })
  expect([user.received, brokenRule(user)]).toEqual([[], "LC8"])
})
