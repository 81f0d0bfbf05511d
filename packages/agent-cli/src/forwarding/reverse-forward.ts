/** A listener at the agent, made again when the link it came with is gone. */
import type { IncomingConnection, Listener } from "@trunkline/client"
import { type ListenAddress, reconnect, stableMs, TunnelError } from "@trunkline/protocol"
import { pause } from "../agent/pause.ts"
import type { Place, StreamPlaces } from "./stream-places.ts"

export interface ReverseForwardOptions {
  readonly address: ListenAddress
  readonly places: StreamPlaces
  /** Nobody can connect from its abort on; connections go on. */
  readonly signal: AbortSignal
  /** Somebody has connected at the agent. What accepts it is a stream on the listener's own link. */
  connected(incoming: IncomingConnection, listener: Place): void
  /** Nobody can connect there any more; it is tried again. */
  lost(error: TunnelError): void
  back(): void
  /** It is not tried again. */
  failed(error: unknown): void
}

export interface ReverseForward {
  /** With the port that was taken, which it keeps to. */
  readonly address: ListenAddress
}

interface Listening {
  readonly listener: Listener
  readonly place: Place
}

/** Rejects with TunnelError, `address-in-use` and `denied` among others. */
export async function startReverseForward(options: ReverseForwardOptions): Promise<ReverseForward> {
  const listening = await listenThere(options, options.address)
  const { address } = listening.listener
  keepListening(options, address, listening).catch((error) => {
    if (!options.signal.aborted) options.failed(error)
  })
  return { address }
}

async function keepListening(options: ReverseForwardOptions, address: ListenAddress, first: Listening): Promise<never> {
  let { listener, place } = first
  for (let attempt = 0; ; ) {
    const since = performance.now()
    const error = await passOn(listener, (incoming) => options.connected(incoming, place))
    place.release()
    options.signal.throwIfAborted()
    options.lost(error)
    // One that was lost as soon as it was there is no reason to try again at once.
    if (performance.now() - since >= stableMs) attempt = 0
    const again = await listenAgain(options, address, attempt)
    listener = again.listening.listener
    place = again.listening.place
    attempt = again.attempt
    options.back()
  }
}

async function passOn(listener: Listener, connected: (incoming: IncomingConnection) => void): Promise<TunnelError> {
  try {
    for await (const incoming of listener.connections) connected(incoming)
    return new TunnelError("service-failed", "the agent has ended the listener")
  } catch (error) {
    if (error instanceof TunnelError) return error
    throw error
  }
}

/** Resolves when it listens. Rejects with what waiting does not change. */
async function listenAgain(
  options: ReverseForwardOptions,
  address: ListenAddress,
  lastAttempt: number,
): Promise<{ readonly listening: Listening; readonly attempt: number }> {
  for (let attempt = lastAttempt; ; ) {
    const verdict = reconnect({ attempt, code: dialFailed, connectedMs: 0, random: Math.random() })
    if (verdict.action === "wait") {
      attempt = verdict.attempt
      await pause(verdict.delayMs, options.signal)
    }
    try {
      return { listening: await listenThere(options, address), attempt }
    } catch (error) {
      if (options.signal.aborted || !(error instanceof TunnelError) || isFinal(error)) throw error
    }
  }
}

const dialFailed = 1006

/** A port that is taken may still be the lost link's own: the agent keeps it for as long as that could be resumed. */
function isFinal({ code }: TunnelError): boolean {
  return code === "unauthorised" || code === "denied" || code === "unsupported-version" || code === "unsupported-kind"
}

async function listenThere({ places, signal }: ReverseForwardOptions, address: ListenAddress): Promise<Listening> {
  const place = await places.take()
  try {
    return { listener: await place.agent.listen(address, { signal }), place }
  } catch (error) {
    place.release()
    throw error
  }
}
