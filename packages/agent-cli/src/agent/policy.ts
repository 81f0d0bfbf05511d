/** What the machine's owner lets a client do, asked for every stream that is opened, after the gateway's own check. */
import { type Kind, type Principal, TunnelError } from "@trunkline/protocol"

/** Any of these lets a principal open streams of the kind; which processes it then may see and touch the process says. */
const scopes: Readonly<Record<Kind, readonly string[]>> = {
  exec: ["exec"],
  pty: ["pty"],
  attach: ["exec", "pty"],
  processes: ["read", "exec", "pty"],
}

/** Undefined, or why not. The scope `admin` is for all of them. */
export function refusal(principal: Principal, kind: Kind): TunnelError | undefined {
  if (principal.scopes.includes("admin") || scopes[kind].some((scope) => principal.scopes.includes(scope))) return undefined
  return new TunnelError("denied", `"${principal.id}" may not use ${kind} on this machine`)
}
