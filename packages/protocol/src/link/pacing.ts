/**
 * How many bulk bytes may be in flight while somebody types (SPEC PC): a little over bandwidth × round trip, so the
 * queue in front of a keystroke stays short in every buffer on the path. A value with `now` passed in; no timers.
 */
import { limits } from "../wire/limits.ts"
import type { SentMessage } from "./send-log.ts"

/** Never less: 26 ms of a 20 Mbit/s line, and enough to pass 100 Mbit/s when acknowledgements wait for their timer. */
const floorBytes = 65_536
/** Milliseconds that one bulk frame may take on the path: what a keystroke waits for it at worst. */
const frameMs = 5
/** Share above the measured product, so that a faster path is noticed. BBR probes with the same quarter. */
const probeGain = 1.25
/** Milliseconds a measurement is believed. Paths change slowly, BBR keeps its least round trip for 10 s. */
const believedMs = 10_000

/** Milliseconds: nothing crosses a network in less, and clocks that are kept coarse on purpose say 0. */
const clockMs = 0.1

interface Sample {
  readonly value: number
  readonly atMs: number
}

export class Pacing {
  #minRtt: Sample | undefined
  #maxRate: Sample | undefined

  /** The newest message that an acknowledgement covered, and how far the peer has now acknowledged. */
  acknowledged(message: SentMessage, acked: number, nowMs: number): void {
    const elapsedMs = Math.max(nowMs - message.sentAtMs, clockMs)
    // From acknowledgement to acknowledgement: acknowledgements gather, and measured from its sending the last message of
    // such a gathering would seem to have brought all of it across alone.
    const rate = (acked - message.ackedAtSend) / Math.max(nowMs - message.ackedAtSendMs, clockMs)
    this.#minRtt = better(this.#minRtt, { value: elapsedMs, atMs: nowMs }, (sample, best) => sample <= best)
    this.#maxRate = better(this.#maxRate, { value: rate, atMs: nowMs }, (sample, best) => sample >= best)
  }

  /** Least round trip seen lately in milliseconds, acknowledgement delay included; undefined before the first. */
  get rttMs(): number | undefined {
    return this.#minRtt?.value
  }

  /** The acknowledgement may wait its delay besides; without that share a fast path would stand still for most of it. */
  get bulkInFlightBytesMax(): number {
    if (this.#minRtt === undefined || this.#maxRate === undefined) return floorBytes
    return Math.max(floorBytes, Math.floor(probeGain * this.#maxRate.value * (this.#minRtt.value + limits.ackDelayMs)))
  }

  /** Payload of one bulk frame at most. */
  get bulkPayloadBytesMax(): number {
    const { interactiveDataBytesMax: min, dataBytesMax: max } = limits
    return Math.min(Math.max(min, Math.floor((this.#maxRate?.value ?? 0) * frameMs)), max)
  }
}

const better = (best: Sample | undefined, sample: Sample, wins: (sample: number, best: number) => boolean): Sample =>
  best === undefined || sample.atMs - best.atMs > believedMs || wins(sample.value, best.value) ? sample : best
