/** The agent's entry at the gateway while it can be reached at a URL: written, renewed as often as the gateway asks, taken back at a clean stop. */
import { type EndpointName, type Labels, type Logger, limits, reconnect, TunnelError } from "@trunkline/protocol"
import { belowGateway } from "./below-gateway.ts"
import { gatewayRefusal, notAGateway } from "./gateway-refusal.ts"
import { pause } from "./pause.ts"

export interface RegistrationOptions {
  readonly name: EndpointName
  readonly gateway: URL
  /** The gateway secret or this agent's own key. */
  readonly secret: string
  /** Where whatever publishes this machine's listener can be reached. */
  readonly url: URL
  readonly labels: Labels
  readonly version: string
  readonly logger: Logger
  /** Called each time the gateway has taken it. */
  readonly onRegistered?: () => void
}

/** Milliseconds between renewals when a gateway asks for none that make sense. */
const periodMsDefault = 300_000
/** Milliseconds at least, so that no answer makes us hammer. */
const periodMsMin = 1_000
/** Milliseconds at most: a gateway forgets in less, and no timer holds more than 24 days. */
const periodMsMax = 3_600_000
/** Characters of an answer that are read. */
const answerLengthMax = 16_384

export class Registration {
  readonly #options: RegistrationOptions
  /** It was there once: what answers in the gateway's place now will be gone again. */
  #registered = false

  constructor(options: RegistrationOptions) {
    this.#options = options
  }

  /** Renews until `over`; resolves with why, when the gateway will not have it and asking again would not help. Never rejects. */
  async keep(over: AbortSignal): Promise<TunnelError | undefined> {
    const { logger, gateway, url } = this.#options
    let attempt = 0
    while (!over.aborted) {
      const answer = await this.#put(over)
      if (over.aborted) return undefined
      if (typeof answer === "number") {
        attempt = 0
        if (!this.#registered) logger.info("heartbeat.registered", { gateway: gateway.origin, url: url.origin, periodMs: answer })
        this.#registered = true
        this.#options.onRegistered?.()
        await pause(answer, over)
        continue
      }
      const mistaken = answer.code === "protocol-error" && this.#registered
      if (!answer.retryable && !mistaken) return answer
      const verdict = reconnect({ attempt, code: 1006, connectedMs: 0, random: Math.random() })
      if (verdict.action === "stop") return answer
      attempt = verdict.attempt
      logger.warn("heartbeat.failed", { reason: answer.message, retryMs: Math.round(verdict.delayMs) })
      await pause(verdict.delayMs, over)
    }
    return undefined
  }

  /** Takes it back. A gateway that cannot be told forgets by itself; never rejects. */
  async withdraw(): Promise<void> {
    if (!this.#registered) return
    const answer = await this.#call("DELETE")
    if (answer instanceof TunnelError)
      this.#options.logger.warn("heartbeat.left", { reason: answer.message, consequence: "listed until the gateway's record expires" })
  }

  /** Milliseconds until the next, or what went wrong. */
  async #put(over: AbortSignal): Promise<number | TunnelError> {
    const { url, labels, version } = this.#options
    const text = await this.#call("PUT", JSON.stringify({ url: url.href, labels, version }), over)
    if (text instanceof TunnelError) return text
    try {
      const { periodMs } = JSON.parse(text) as { readonly periodMs?: unknown }
      return typeof periodMs === "number" && periodMs >= periodMsMin && periodMs <= periodMsMax ? periodMs : periodMsDefault
    } catch {
      return notAGateway("an answer that is not JSON")
    }
  }

  async #call(method: "PUT" | "DELETE", body?: string, over?: AbortSignal): Promise<string | TunnelError> {
    const { gateway, name, secret } = this.#options
    const timeUp = AbortSignal.timeout(limits.handshakeMs)
    try {
      const response = await fetch(belowGateway(gateway, `v1/heartbeats/${name}`), {
        method,
        headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body }),
        // The credential is for this place.
        redirect: "manual",
        signal: over === undefined ? timeUp : AbortSignal.any([timeUp, over]),
      })
      const text = await textOf(response)
      return response.ok ? text : gatewayRefusal(response.status, text)
    } catch (error) {
      const reason = timeUp.aborted ? `no answer within ${limits.handshakeMs / 1000} seconds` : reasonOf(error)
      return new TunnelError("gateway-unreachable", `cannot reach the gateway at ${gateway.origin}: ${reason}`, { cause: error })
    }
  }
}

/** As far as it is read. */
async function textOf({ body }: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ""
  // Leaving the loop ends the answer.
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > answerLengthMax) break
  }
  return text
}

/** Node wraps the reason of a failed fetch; the innermost message is the one that helps. */
function reasonOf(error: unknown): string {
  let cause = error
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) cause = cause.errors[0]
  return cause instanceof Error ? cause.message : String(cause)
}
