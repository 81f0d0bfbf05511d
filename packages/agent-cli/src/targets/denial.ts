/** What a client is told that may not reach something: that the owner says so, and what the owner could write. */
import { isIP } from "node:net"
import { TunnelError, targetText } from "@trunkline/protocol"
import { readHost } from "./address.ts"
import { isUnspecified } from "./network.ts"
import type { Use } from "./rule.ts"
import type { Verdict } from "./verdict.ts"

/** Port 0 where any would do. */
type Place = { readonly host: string; readonly port: number } | { readonly path: string }

/** `special-name`: a name that stands for special addresses, which the client need not be told. */
export type DenialReason = Exclude<Verdict, "allowed"> | "special-name"

export function denial(place: Place, use: Use, reason: DenialReason): TunnelError {
  return new TunnelError("denied", sentence(place, use, reason))
}

function sentence(place: Place, use: Use, reason: DenialReason): string {
  const what = `${use === "listen" ? "listening at " : ""}${targetText(place)}`
  const host = "host" in place ? readHost(place.host) : undefined
  switch (reason) {
    case "deny":
      return `${what} is denied by a rule of the agent's owner`
    case "unallowed":
      if (use === "listen" && "host" in place && place.host !== "localhost" && isIP(place.host) === 0)
        return `${what} is not allowed by the agent's owner: a listener's host is an IP address or localhost`
      return `${what} is not allowed by the agent's owner, who can allow it with: trunkline serve --allow ${ruleFor(place, use)}`
    case "special":
      if (host?.type === "address" && isUnspecified(host.address))
        return `${what} is not allowed: it is no address to connect to, localhost is`
      return (
        `${what} is not allowed: it is a link-local, cloud metadata, multicast or reserved address, which only a rule that names it allows; ` +
        `the agent's owner can with: trunkline serve --allow ${ruleFor(place, use)}`
      )
    case "special-name":
      return (
        `${what} is not allowed: the name stands for a link-local, cloud metadata, multicast or reserved address, which only a rule that names ` +
        "the address itself allows; that is for the agent's owner to add"
      )
  }
}

/** In the spelling that a rule takes. */
function ruleFor(place: Place, use: Use): string {
  if ("path" in place) return `${use}:unix:${place.path}`
  const host = readHost(place.host)
  const text = host?.type === "address" ? host.address.text : place.host
  return `${use}:${text.includes(":") ? `[${text}]` : text}:${place.port === 0 ? "*" : place.port}`
}
