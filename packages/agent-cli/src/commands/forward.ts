/** `trunkline forward NAME …`: listeners here whose connections the agent makes, and listeners there whose connections are made here. */
import type { ListenAddress } from "@trunkline/protocol"
import { exitCodeOfSignal } from "../exit-codes.ts"
import { parseForward } from "../forwarding/forward-spec.ts"
import { forwardDocument, forwardLine, listenText, type ReadyForward } from "../forwarding/forward-text.ts"
import { Forwarding, type WantedForwards } from "../forwarding/forwarding.ts"
import { linksMax } from "../forwarding/stream-places.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { formatJsonLine, printable } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"
import { UsageError } from "../usage-error.ts"

type ForwardValues = GatewayValues & Values<"localForwards" | "reverseForwards" | "socksListeners" | "output">

/** Milliseconds an unused link is kept: the first for as long as forward runs (the longest that timers take), so that a connection never waits for a dial; further ones for a while. */
const idleMs = { first: 2_147_483_647, further: 60_000 }

export async function run(values: ForwardValues, { name, more }: Operands): Promise<number> {
  const wanted = {
    local: [...more.map(parseForward), ...values.localForwards],
    reverse: values.reverseForwards,
    socks: values.socksListeners,
  }
  refuseImpossible(wanted)
  const signals = listenForSignals()
  const links = await Promise.all(
    Array.from({ length: linksMax }, (_, at) => openAgent(values, name, { idleMs: at === 0 ? idleMs.first : idleMs.further })),
  )
  const forwarding = new Forwarding(name, links, (line) => void process.stderr.write(`${printable(line)}\n`))
  try {
    const started = forwarding.start(wanted)
    started.catch(() => {})
    const early = await Promise.race([started, signals.first])
    if (typeof early === "string") return exitCodeOfSignal(early)
    await announce(early, values.output)
    await Promise.race([signals.first, forwarding.failure])
    forwarding.stopListening()
    return await forwarding.drain(signals.second)
  } finally {
    forwarding.end()
    signals.ignore()
  }
}

function refuseImpossible({ local, reverse, socks }: WantedForwards): void {
  if (local.length + reverse.length + socks.length === 0)
    throw new UsageError("nothing to forward: give a port, as in `trunkline forward NAME 5432`, or -R or -D")
  refuseTwins([...local.map(({ listen }) => listen), ...socks])
  refuseTwins(reverse.map(({ listen }) => listen))
}

function refuseTwins(addresses: readonly ListenAddress[]): void {
  const seen = new Set<string>()
  for (const address of addresses) {
    if ("port" in address && address.port === 0) continue
    const text = listenText(address)
    if (seen.has(text)) throw new UsageError(`${text} is to be listened on twice`)
    seen.add(text)
  }
}

interface Signals {
  readonly first: Promise<NodeJS.Signals>
  readonly second: Promise<NodeJS.Signals>
  ignore(): void
}

const leavingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

function listenForSignals(): Signals {
  const first = Promise.withResolvers<NodeJS.Signals>()
  const second = Promise.withResolvers<NodeJS.Signals>()
  let count = 0
  const onSignal = (signal: NodeJS.Signals) => {
    count += 1
    if (count === 1) first.resolve(signal)
    else second.resolve(signal)
  }
  for (const signal of leavingSignals) process.on(signal, onSignal)
  return {
    first: first.promise,
    second: second.promise,
    ignore() {
      for (const signal of leavingSignals) process.off(signal, onSignal)
    },
  }
}

/** What is forwarded goes to stderr, for people. stdout has what scripts ask for: the addresses, with the ports that were taken. */
async function announce(forwards: readonly ReadyForward[], output: "text" | "json"): Promise<void> {
  if (output === "json") return await writeAll(process.stdout, forwards.map((forward) => formatJsonLine(forwardDocument(forward))).join(""))
  for (const forward of forwards) process.stderr.write(`${forwardLine(forward)}\n`)
  if (!process.stdout.isTTY) await writeAll(process.stdout, forwards.map(({ listen }) => `${listenText(listen)}\n`).join(""))
}
