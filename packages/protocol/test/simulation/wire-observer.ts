/**
 * Watches every message of one link from outside and keeps its own account of what each end may do: in flight within the
 * window, credit, honest acks, exact resends. It shares no state with the code under test.
 */
import {
  controlOffset,
  dataCost,
  decodeFrames,
  type Frame,
  type LinkControl,
  limits,
  linkHeaderBytes,
  readLinkControl,
  readLinkHeader,
} from "../../src/index.ts"
import type { Side } from "../../src/testing/simulated-line.ts"
import { check } from "./check.ts"

/** What one end has sent, received and been granted. */
class Account {
  sentBytes = 0
  receivedBytes = 0
  ackedBytes = 0
  windowBytes: number = limits.linkWindowBytes
  budgetBytes: number = limits.linkWindowBytesMax
  line = -1
  attempt = 0
  /** Messages sent and not acknowledged, by where they start, to compare with what is sent again. */
  readonly bodies = new Map<number, string>()
  readonly credit = new Map<number, number>()
  readonly granted = new Map<number, number>()
  readonly finished = new Set<number>()
}

export type ConsumedCost = (side: Side, stream: number) => number

export class WireObserver {
  readonly #accounts: Record<Side, Account> = { left: new Account(), right: new Account() }
  readonly #consumedCost: ConsumedCost
  /** A number made of all that was seen: equal for equal runs. */
  digest = 0
  resent = 0
  messages = 0

  constructor(consumedCost: ConsumedCost) {
    this.#consumedCost = consumedCost
  }

  setBudget(side: Side, bytes: number): void {
    this.#accounts[side].budgetBytes = Math.max(bytes, limits.linkWindowBytesMin)
  }

  see(event: "sent" | "arrived", from: Side, line: number, message: Uint8Array, nowMs: number): void {
    this.messages += 1
    this.digest = (Math.imul(this.digest ^ message.byteLength, 0x0100_0193) ^ Math.round(nowMs * 1000)) >>> 0
    this.#look(event, from, line, message)
  }

  #look(event: "sent" | "arrived", from: Side, line: number, message: Uint8Array): void {
    const header = readLinkHeader(message)
    check(header !== undefined, "a message without a header")
    const account = this.#accounts[event === "sent" ? from : from === "left" ? "right" : "left"]
    if (header.offset === controlOffset) {
      const { control, data } = readLinkControl(message)
      if (event === "sent") this.#sentControl(account, line, control)
      else this.#arrivedControl(account, line, control)
      if (data !== undefined) this.#look(event, from, line, data)
      return
    }
    const body = message.subarray(linkHeaderBytes)
    if (event === "sent") this.#sent(account, from, header, body)
    else this.#arrived(account, line, header, body)
  }

  /** After a run that has come to rest. */
  settled(): void {
    const { left, right } = this.#accounts
    check(left.sentBytes === right.receivedBytes, `left sent ${left.sentBytes}, right received ${right.receivedBytes}`)
    check(right.sentBytes === left.receivedBytes, `right sent ${right.sentBytes}, left received ${left.receivedBytes}`)
    check(left.ackedBytes === left.sentBytes && right.ackedBytes === right.sentBytes, "bytes that were never acknowledged")
  }

  #sentControl(account: Account, line: number, control: LinkControl): void {
    // From its greeting on an end listens to that line alone.
    if (control.type === "hello" || control.type === "welcome") account.line = line
  }

  #sent(account: Account, from: Side, header: { offset: number; ack: number }, body: Uint8Array): void {
    check(header.ack <= account.receivedBytes, `an ack of ${header.ack} with ${account.receivedBytes} received`)
    if (body.byteLength === 0) return
    const end = header.offset + body.byteLength
    const print = fingerprint(body)
    if (header.offset < account.sentBytes) {
      this.resent += 1
      check(account.bodies.get(header.offset) === print, `bytes from ${header.offset} were sent again as others`)
      return
    }
    check(header.offset === account.sentBytes, `a message at ${header.offset} after ${account.sentBytes}`)
    const frames = decodeFrames(body)
    const window = Math.min(account.windowBytes, account.budgetBytes)
    const alone = account.ackedBytes === header.offset && frames.length === 1
    check(alone || end - account.ackedBytes <= window, `${end - account.ackedBytes} bytes in flight in a window of ${window}`)
    account.sentBytes = end
    account.bodies.set(header.offset, print)
    for (const frame of frames) this.#sentFrame(account, from, frame)
  }

  #sentFrame(account: Account, from: Side, frame: Frame): void {
    switch (frame.type) {
      case "data": {
        const credit = (account.credit.get(frame.stream) ?? limits.streamWindowBytes) - dataCost(frame.bytes.byteLength)
        check(credit >= 0, `DATA on stream ${frame.stream} ${-credit} beyond its credit`)
        check(!account.finished.has(frame.stream), `DATA on stream ${frame.stream} after its FIN`)
        account.credit.set(frame.stream, credit)
        return
      }
      case "fin":
        check(!account.finished.has(frame.stream), `a second FIN on stream ${frame.stream}`)
        account.finished.add(frame.stream)
        return
      case "credit": {
        const granted = (account.granted.get(frame.stream) ?? 0) + frame.bytes
        account.granted.set(frame.stream, granted)
        const consumed = this.#consumedCost(from, frame.stream)
        const growth = consumed === 0 ? 0 : limits.streamWindowBytesMax - limits.streamWindowBytes
        check(granted <= consumed + growth, `${granted} granted on stream ${frame.stream}, consumed were ${consumed}`)
        return
      }
      default:
    }
  }

  #arrivedControl(account: Account, line: number, control: LinkControl): void {
    // A hello that was overtaken by a newer one is refused.
    if (control.type === "hello" && control.attempt > account.attempt) {
      account.attempt = control.attempt
      account.line = line
    }
    if (line !== account.line) return
    if ("received" in control) account.ackedBytes = control.received
    if ("window" in control) account.windowBytes = control.window
  }

  #arrived(account: Account, line: number, header: { offset: number; ack: number }, body: Uint8Array): void {
    if (line !== account.line) return
    this.#acknowledge(account, header.ack)
    if (header.offset + body.byteLength <= account.receivedBytes) return
    check(header.offset === account.receivedBytes, `bytes from ${header.offset} arrived after ${account.receivedBytes}`)
    account.receivedBytes += body.byteLength
    for (const frame of decodeFrames(body)) {
      if (frame.type !== "credit") continue
      account.credit.set(frame.stream, (account.credit.get(frame.stream) ?? limits.streamWindowBytes) + frame.bytes)
    }
  }

  #acknowledge(account: Account, ack: number): void {
    check(ack >= account.ackedBytes, `an ack of ${ack} after ${account.ackedBytes}`)
    account.ackedBytes = ack
    for (const start of account.bodies.keys()) {
      if (start >= ack) break
      account.bodies.delete(start)
    }
  }
}

function fingerprint(body: Uint8Array): string {
  let hash = 0x811c_9dc5
  // Every third byte and all of a header is enough to tell two messages apart.
  for (let at = 0; at < body.byteLength; at += at < 64 ? 1 : 3) hash = Math.imul(hash ^ (body[at] ?? 0), 0x0100_0193)
  return `${body.byteLength}:${hash}`
}
