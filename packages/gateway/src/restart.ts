/**
 * The moment before this process stops: new sockets are refused for a while, or agents told to redial would be back
 * before the process is gone and keep it from ending.
 */
import { TunnelError } from "@trunkline/protocol"

let refusingUntilMs = 0

/** Refuses new sockets on this isolate for `forMs`. */
export function refuseSockets(forMs: number): void {
  refusingUntilMs = Date.now() + forMs
}

export const isRefusingSockets = (): boolean => Date.now() < refusingUntilMs

export function requireTakingSockets(): void {
  if (isRefusingSockets()) throw new TunnelError("overloaded", "the gateway is about to restart: retry in a few seconds")
}
