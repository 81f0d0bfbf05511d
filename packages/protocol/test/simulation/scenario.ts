/**
 * One simulated life of a link, made from a seed: two real ends, a bad network between them, many streams. Throws
 * BrokenPromise when the protocol breaks one; everything it does follows from the seed.
 */
import { limits, type Mux, type MuxStream, type StreamEvents, TunnelError } from "../../src/index.ts"
import { AgentEnd, ClientEnd, SeededRandom, SimulatedLine, VirtualClock } from "../../src/testing/index.ts"
import type { Side } from "../../src/testing/simulated-line.ts"
import { check } from "./check.ts"
import { planConnections, type StreamPlan } from "./connections.ts"
import { type FlowPlan, FlowReader, FlowWriter } from "./flow.ts"
import { WireObserver } from "./wire-observer.ts"

export interface ScenarioReport {
  readonly streams: number
  readonly bytes: number
  readonly cuts: number
  readonly resent: number
  readonly messages: number
  readonly virtualMs: number
  readonly digest: number
}

/** Virtual milliseconds within which everything has ended after the last fault; the slowest network needs a tenth of it. */
const restMs = 3_600_000

/** Far from the seeds of lives. */
const connectionDice = 0x7cb0_0000_0000n

export function runScenario(seed: number | bigint): ScenarioReport {
  const bits = BigInt(seed)
  // Of every other life nothing is changed by them: they have dice of their own.
  const connections = bits % 2n === 0n ? planConnections(new SeededRandom(bits + connectionDice)) : []
  return new Scenario(new SeededRandom(seed), connections).run()
}

class StreamEnd {
  readonly plan: StreamPlan
  readonly reader: FlowReader
  writer: FlowWriter | undefined
  stream: MuxStream | undefined
  closes = 0
  error: TunnelError | undefined
  /** It was not granted, or was over by then: nobody is told of its end. */
  refused = false

  constructor(plan: StreamPlan, reader: FlowReader) {
    this.plan = plan
    this.reader = reader
  }
}

/** What a stream is told that was reset, faulty or refused as planned. */
const plannedCodes: ReadonlySet<string> = new Set(["aborted", "bad-request", "denied"])

const other = (side: Side): Side => (side === "left" ? "right" : "left")

class Scenario {
  readonly #random: SeededRandom
  readonly #clock = new VirtualClock()
  readonly #observer: WireObserver
  readonly #client: ClientEnd
  readonly #agent: AgentEnd
  readonly #plans: StreamPlan[]
  readonly #ends: Record<Side, Map<number, StreamEnd>> = { left: new Map(), right: new Map() }
  readonly #network: { readonly delayMs: number; readonly jitterMs: number; readonly bytesPerMs: number }
  readonly #faultsEndMs: number
  #line: SimulatedLine | undefined
  #lines = 0
  #cuts = 0
  #resting = false

  constructor(random: SeededRandom, connections: readonly Omit<StreamPlan, "index">[]) {
    this.#random = random
    this.#network = {
      delayMs: random.pick([0, 1, 5, 20, 80, 200]),
      jitterMs: random.pick([0, 0, 5, 50]),
      bytesPerMs: random.pick([100, 1_000, 2_500, 10_000, 100_000]),
    }
    this.#faultsEndMs = random.pick([500, 3_000, 10_000])
    const plans = Array.from({ length: random.pick([1, 2, 3, 8, 20]) }, (_, index) => this.#planStream(index))
    this.#plans = [...plans, ...connections.map((plan, index) => ({ ...plan, index: plans.length + index }))]
    this.#observer = new WireObserver((side, stream) => this.#ends[side].get(stream)?.reader.consumedCost ?? 0)
    const link = () => ({
      clock: this.#clock,
      windowBytes: random.pick([limits.linkWindowBytesMin, 100_000, limits.linkWindowBytes, limits.linkWindowBytesMax]),
    })
    const ended = (error: TunnelError) => check(false, `the link ended: ${error.message}`)
    this.#agent = new AgentEnd(() => ({ link: link(), ended, offered: (stream, body) => this.#offered("right", stream, body) }))
    this.#client = new ClientEnd({
      link: { ...link(), detached: () => this.#clock.schedule(random.integer(0, 500), () => this.#dial()) },
      ended,
      offered: (stream, body) => this.#offered("left", stream, body),
    })
  }

  run(): ScenarioReport {
    this.#dial()
    for (const plan of this.#plans) this.#clock.schedule(plan.startMs, () => this.#open(plan))
    this.#scheduleFault()
    this.#schedulePings()
    this.#clock.run(this.#faultsEndMs)
    this.#resting = true
    check(this.#clock.run(this.#faultsEndMs + restMs), `not at rest ${restMs} ms after the last fault`)
    this.#checkRest()
    return {
      streams: this.#plans.length,
      bytes: this.#plans.reduce((sum, { flows }) => sum + flows.left.totalBytes + flows.right.totalBytes, 0),
      cuts: this.#cuts,
      resent: this.#observer.resent,
      messages: this.#observer.messages,
      virtualMs: this.#clock.now(),
      digest: this.#observer.digest,
    }
  }

  #planStream(index: number): StreamPlan {
    const random = this.#random
    const flow = (side: number): FlowPlan => {
      const totalBytes = random.pick([0, 1, 200, 5_000, 70_000, 70_000, random.integer(0, 900_000)])
      return {
        salt: index * 2 + side,
        totalBytes,
        chunkBytesMax: random.pick([1_000, 20_000, 200_000, totalBytes < 10_000 ? 3 : 5_000]),
        writePauseMs: random.pick([0, 0, 0, 3, 40]),
        messages: random.pick([0, 0, 1, 20]),
        trailer: random.chance(50),
        readPauseMs: random.pick([0, 0, 0, 1, 10]),
        readStartsMs: random.pick([0, 0, 0, 2_000]),
        faultAt: random.chance(4) ? random.integer(0, totalBytes) : -1,
        resetAt: -1,
        endsLast: false,
        oneTag: false,
      }
    }
    const side = (): Side => random.pick(["left", "right"])
    return {
      index,
      opener: random.chance(80) ? "left" : "right",
      kind: random.pick(["exec", "exec", "pty", "other"]),
      startMs: random.integer(0, 2_000),
      openBytes: random.pick([0, 0, 100, 10_000, 200_000]),
      answerMs: random.pick([0, 0, 5, 500]),
      rejected: random.chance(5),
      reset: random.chance(15) ? { side: side(), afterMs: random.integer(0, 2_000) } : undefined,
      flows: { left: flow(0), right: flow(1) },
    }
  }

  #mux(side: Side): Mux | undefined {
    return side === "left" ? this.#client.mux : [...this.#agent.links.values()][0]?.mux
  }

  #dial(): void {
    const number = this.#lines++
    const line = new SimulatedLine({
      ...this.#network,
      clock: this.#clock,
      random: this.#random,
      observe: (event, from, message) => this.#observer.see(event, from, number, message, this.#clock.now()),
    })
    this.#line = line
    // Events that come while the ends still attach are impossible: the line takes time for everything.
    line.listen("left", this.#client.attach(line.left))
    line.listen("right", this.#agent.attach(line.right))
  }

  #scheduleFault(): void {
    this.#clock.schedule(this.#random.integer(1, 1_500), () => {
      if (this.#resting || this.#clock.now() >= this.#faultsEndMs) return
      this.#fault()
      this.#scheduleFault()
    })
  }

  #fault(): void {
    const random = this.#random
    const line = this.#line
    const { phase } = this.#client.mux.link
    // A link cut before its first welcome ends by design; the unit tests have that.
    if (line === undefined || phase === "starting") return
    const side: Side = random.pick(["left", "right"])
    const mux = this.#mux(side)
    switch (random.pick(["cut", "cut", "switch", "freeze", "late", "stall", "stall", "window", "budget"])) {
      case "cut":
        this.#cuts += 1
        return line.cut(random.integer(0, 300), random.integer(0, 3_000))
      case "switch": {
        // The client goes on on another path while the old one still delivers.
        if (phase === "detached") return
        this.#cuts += 1
        this.#dial()
        this.#clock.schedule(random.integer(0, 2_000), () => line.cut(0, 0))
        return
      }
      case "freeze":
        // Nothing passes and nobody is told: each end finds out by itself, as long as a dead path takes to be noticed.
        this.#cuts += 1
        return line.cut(random.integer(4_000, 9_000), random.integer(0, 9_000))
      case "late":
        // The agent's end hears of the loss only after the client has been back for long.
        this.#cuts += 1
        return line.cut(0, random.integer(5_000, 75_000))
      case "stall":
        line.stall(side)
        this.#clock.schedule(random.integer(1, 2_000), () => line.resume(side))
        return
      case "window":
        return mux?.link.setWindow(random.integer(limits.linkWindowBytesMin, limits.linkWindowBytesMax))
      case "budget": {
        const bytes = random.integer(0, limits.linkWindowBytesMax)
        if (mux === undefined) return
        this.#observer.setBudget(side, bytes)
        return mux.link.setBudget(bytes)
      }
    }
  }

  #schedulePings(): void {
    this.#clock.schedule(this.#random.integer(100, 3_000), () => {
      if (this.#resting || this.#clock.now() >= this.#faultsEndMs) return
      // What it resolves to is of no interest here, and a run is over before any promise is.
      this.#mux(this.#random.pick(["left", "right"]))
        ?.ping()
        .catch(() => undefined)
      this.#schedulePings()
    })
  }

  #open(plan: StreamPlan): void {
    const mux = this.#mux(plan.opener)
    if (mux === undefined) {
      this.#clock.schedule(50, () => this.#open(plan))
      return
    }
    const end = new StreamEnd(plan, new FlowReader(plan.flows[other(plan.opener)], this.#clock))
    const stream = mux.open(plan.kind, { plan: plan.index, pad: "x".repeat(plan.openBytes) }, this.#events(plan.opener, end))
    this.#bind(plan, plan.opener, end, stream)
    end.writer?.pump()
    if (plan.reset?.side === plan.opener) this.#scheduleReset(stream, plan.reset.afterMs)
  }

  #offered(side: Side, stream: MuxStream, body: unknown): void {
    check(typeof body === "object" && body !== null && "plan" in body && typeof body.plan === "number", "an OPEN body changed")
    const plan = this.#plans[body.plan]
    check(plan !== undefined, "an OPEN of no plan")
    check(!this.#ends[side].has(stream.id), `stream ${stream.id} was offered twice`)
    const end = new StreamEnd(plan, new FlowReader(plan.flows[plan.opener], this.#clock))
    this.#bind(plan, side, end, stream)
    const answer = () => {
      if (plan.rejected) {
        stream.reject(new TunnelError("denied", "planned"))
        end.closes += 1
        end.refused = true
        return
      }
      const taken = stream.accept({ plan: plan.index }, this.#events(side, end))
      if (taken) end.writer?.pump()
      else {
        end.closes += 1
        end.refused = true
      }
    }
    if (plan.answerMs === 0) answer()
    else this.#clock.schedule(plan.answerMs, answer)
    if (plan.reset?.side === side) this.#scheduleReset(stream, plan.answerMs + plan.reset.afterMs)
  }

  #bind(plan: StreamPlan, side: Side, end: StreamEnd, stream: MuxStream): void {
    end.stream = stream
    end.reader.stream = stream
    end.writer = new FlowWriter(stream, plan.flows[side], this.#clock, this.#random)
    this.#ends[side].set(stream.id, end)
  }

  #scheduleReset(stream: MuxStream, afterMs: number): void {
    this.#clock.schedule(afterMs, () => stream.reset(new TunnelError("aborted", "planned")))
  }

  #events(side: Side, end: StreamEnd): StreamEvents {
    const open = () => check(end.closes === 0, `something was told on the ${side} after closed`)
    return {
      accepted: () => open(),
      data: (tag, bytes, cost) => {
        open()
        end.reader.data(tag, bytes, cost)
      },
      message: (body) => {
        open()
        end.reader.message(body)
      },
      finished: (trailer) => {
        open()
        end.reader.finish(trailer)
        end.writer?.otherEnded()
      },
      writable: () => {
        open()
        end.writer?.pump()
      },
      closed: (error) => {
        end.closes += 1
        end.error = error
      },
    }
  }

  #checkRest(): void {
    for (const side of ["left", "right"] as const) {
      const mux = this.#mux(side)
      check(mux !== undefined, "the agent has no link")
      check(mux.link.phase === "open", `the ${side} link is ${mux.link.phase}`)
      check(mux.link.inFlightBytes === 0, `${mux.link.inFlightBytes} bytes are in flight for ever`)
      check(mux.streamCount === 0, `${mux.streamCount} streams on the ${side} never ended`)
      check(mux.link.traffic.interactiveStreams === 0, `${mux.link.traffic.interactiveStreams} interactive streams are counted for ever`)
      for (const [id, end] of this.#ends[side]) this.#checkEnd(side, id, end)
    }
    this.#observer.settled()
  }

  #checkEnd(side: Side, id: number, end: StreamEnd): void {
    check(end.closes === 1, `stream ${id} was closed ${end.closes} times on the ${side}`)
    const { plan, error } = end
    const flows = [plan.flows.left, plan.flows.right]
    const mayFail = plan.reset !== undefined || plan.rejected || flows.some(({ faultAt, resetAt }) => faultAt >= 0 || resetAt >= 0)
    // An end that finished has had all of the other's bytes and messages: they were checked on the way.
    const clean = error === undefined && end.reader.finished
    check(clean || mayFail, `stream ${id} failed on the ${side}: ${error?.message ?? "no end"}`)
    // One that was granted ends whole, or says why it does not.
    check(clean || error !== undefined || end.refused, `stream ${id} ended on the ${side} without an end, and without an error`)
    if (error !== undefined) check(plannedCodes.has(error.code), `stream ${id} failed on the ${side} with ${error.code}: ${error.message}`)
  }
}
