/** What the machine's owner lets a client do, asked for every stream that is opened, after the gateway's own check. */
import { type Kind, type Principal, TunnelError } from "@trunkline/protocol"

/** Undefined, or why not. A scope is a kind, or `admin` for all of them. */
export function refusal(principal: Principal, kind: Kind): TunnelError | undefined {
  if (principal.scopes.includes("admin") || principal.scopes.includes(kind)) return undefined
  return new TunnelError("denied", `"${principal.id}" may not use ${kind} on this machine`)
}
