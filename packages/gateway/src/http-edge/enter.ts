/**
 * `/.trunkline/enter` on a service's host: where a browser turns a ticket into its session. The ticket is in the fragment, which browsers keep to themselves; the page
 * sends it in a body, and no URL that reaches a server or its log ever holds it.
 */
import { TunnelError } from "@trunkline/protocol"
import type { Secrets } from "../auth.ts"
import type { Env } from "../env.ts"
import { requestLink } from "../open-link.ts"
import { readText } from "../request-body.ts"
import { readTicket } from "../tickets.ts"
import { requireOwnPage, sessionCookie, sessionLifeMs } from "./browser-session.ts"
import { page } from "./page.ts"
import type { RequestTarget } from "./request-target.ts"
import type { Service } from "./service-address.ts"

/** Paths below it are never the service's. */
export const ownPathPrefix = "/.trunkline/"
export const enterPath = `${ownPathPrefix}enter`

/** Bytes; a ticket has some 300. */
const ticketBytesMax = 4_096

/** The fragment is taken out of the address bar first, so that it is in no bookmark. */
const script = `
const ticket = location.hash.slice(1)
history.replaceState(null, "", location.pathname)
const say = (text) => { document.getElementById("text").textContent = text }
if (ticket === "") say("This link is incomplete: it has no ticket.")
else fetch(location.pathname, { method: "POST", body: ticket, redirect: "manual", headers: { accept: "application/json" } })
  .then(async (response) => {
    if (response.type === "opaqueredirect") location.replace("/")
    else say((await response.json()).error.message)
  })
  .catch(() => say("The gateway cannot be reached."))
`

export interface EnterCall {
  readonly request: Request
  readonly env: Env
  readonly secrets: Secrets
  readonly service: Service
  readonly target: RequestTarget
}

/** Throws `unauthorised` for a ticket that is not good, `not-found` for another path, and what keeps a link from being opened. */
export async function enter(call: EnterCall): Promise<Response> {
  const { request, target } = call
  const [path] = target.path.split("?")
  if (path !== enterPath) throw new TunnelError("not-found", `there is nothing at ${path}: what is below ${ownPathPrefix} is the gateway's`)
  switch (request.method) {
    case "GET":
    case "HEAD":
      return page({ status: 200, title: "One moment", text: "You are being signed in to this service.", script })
    case "POST":
      return useTicket(call)
    default:
      throw new TunnelError("method-not-allowed", `${request.method} is not possible here, only GET, POST`)
  }
}

async function useTicket({ request, env, secrets, service, target }: EnterCall): Promise<Response> {
  requireOwnPage(request, target)
  const now = Date.now()
  const { agent, port } = service
  const { principal, nonce, expiresAt } = await readTicket(secrets, await readText(request, ticketBytesMax), agent, now, port)
  // A link uses it up, in the one place that knows every use of it.
  const { webSocket } = await requestLink(env, agent, principal, { ticket: { nonce, expiresAt } })
  webSocket?.accept()
  webSocket?.close(1000, "the ticket is used")
  const claims = { agent, port, principal, expiresAt: now + sessionLifeMs, host: target.authority.toLowerCase() }
  const cookie = await sessionCookie(secrets, claims, target.scheme === "https")
  return new Response(null, { status: 303, headers: { location: "/", "set-cookie": cookie, "cache-control": "no-store" } })
}
