/**
 * How many bulk bytes may be in flight while somebody types (SPEC PC): a little over bandwidth × round trip, so the
 * queue in front of a keystroke stays short in every buffer on the path. A value with `now` passed in; no timers.
 */
import { limits } from "../wire/limits.ts"
import type { SentMessage } from "./send-log.ts"

/** Never less: two full interactive rounds beyond the acknowledgement threshold, else the sender waits for the ack timer. */
const floorBytes = limits.ackBytes + 2 * limits.interactiveDataBytesMax
/** Share above the measured product, so that a faster path is noticed. BBR probes with the same quarter. */
const probeGain = 1.25
/** Milliseconds a measurement is believed. Paths change slowly, BBR keeps its least round trip for 10 s. */
const believedMs = 10_000

interface Sample {
  readonly value: number
  readonly atMs: number
}

export class Pacing {
  #minRtt: Sample | undefined
  #maxRate: Sample | undefined

  /** The newest message that an acknowledgement covered, and how far the peer has now acknowledged. */
  acknowledged(message: SentMessage, acked: number, nowMs: number): void {
    const elapsedMs = Math.max(nowMs - message.sentAtMs, 0.01)
    const rate = (acked - message.ackedAtSend) / elapsedMs
    this.#minRtt = better(this.#minRtt, { value: elapsedMs, atMs: nowMs }, (sample, best) => sample <= best)
    this.#maxRate = better(this.#maxRate, { value: rate, atMs: nowMs }, (sample, best) => sample >= best)
  }

  /** Least round trip seen lately in milliseconds, acknowledgement delay included; undefined before the first. */
  get rttMs(): number | undefined {
    return this.#minRtt?.value
  }

  get bulkInFlightBytesMax(): number {
    if (this.#minRtt === undefined || this.#maxRate === undefined) return floorBytes
    return Math.max(floorBytes, Math.floor(probeGain * this.#maxRate.value * this.#minRtt.value))
  }
}

const better = (best: Sample | undefined, sample: Sample, wins: (sample: number, best: number) => boolean): Sample =>
  best === undefined || sample.atMs - best.atMs > believedMs || wins(sample.value, best.value) ? sample : best
