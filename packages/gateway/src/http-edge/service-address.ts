/** Which service a request is for: by its host, `PORT--NAME.<domain>`, or by its path, `/v1/agents/NAME/http/PORT/…`. */
import { type EndpointName, endpointName, TunnelError } from "@trunkline/protocol"
import { requireName } from "../route.ts"
import { hostOf, type RequestTarget } from "./request-target.ts"

export interface Service {
  readonly agent: EndpointName
  readonly port: number
}

/** Browsers resolve every name below it to the machine they run on. */
const localDomain = "localhost"

/** The domains below which hosts are services. `httpDomain` may have a port, which only counts in URLs. */
export const serviceDomains = (httpDomain: string | undefined): readonly string[] =>
  httpDomain === undefined || httpDomain === "" ? [localDomain] : [localDomain, hostOf(httpDomain)]

/** The service of a host below one of the domains; undefined for a host that is the gateway's own. Throws `not-found` for a label that names no service. */
export function serviceOfHost(authority: string, domains: readonly string[]): Service | undefined {
  const host = hostOf(authority)
  const domain = domains.find((each) => host.endsWith(`.${each}`))
  if (domain === undefined) return undefined
  const label = host.slice(0, -domain.length - 1)
  const service = serviceOfLabel(label)
  if (service === undefined)
    throw new TunnelError("not-found", `"${host}" names no service: hosts here are PORT--NAME.${domain}, such as 3000--build-7.${domain}`)
  return service
}

/** Names of the machine one is on: what listens there is reached below `localhost` too. */
const localHosts: readonly string[] = ["localhost", "127.0.0.1", "[::1]"]

/** Where the service is, seen from whoever has reached the gateway at this address; undefined where that is below no domain. */
export function serviceUrl(
  { agent, port }: Service,
  { scheme, authority }: RequestTarget,
  httpDomain: string | undefined,
): URL | undefined {
  const label = `${port}--${agent}`
  const localPort = /:\d+$/.exec(authority)?.[0] ?? ""
  if (localHosts.includes(hostOf(authority))) return new URL(`${scheme}://${label}.${localDomain}${localPort}/`)
  return httpDomain === undefined || httpDomain === "" ? undefined : new URL(`${scheme}://${label}.${httpDomain}/`)
}

/** Reads `PORT--NAME`. */
export function serviceOfLabel(label: string): Service | undefined {
  const [, digits = "", name = ""] = /^(\d+)--(.+)$/.exec(label) ?? []
  return serviceOf(name, digits)
}

/** Reads a name and a port. */
export function serviceOf(name: string, digits: string): Service | undefined {
  const agent = endpointName(name)
  const port = portOf(digits)
  return agent === undefined || port === undefined ? undefined : { agent, port }
}

const portOf = (digits: string): number | undefined =>
  /^[1-9]\d{0,4}$/.test(digits) && Number(digits) <= 65_535 ? Number(digits) : undefined

export interface PathService extends Service {
  /** What the service's own paths begin with. */
  readonly prefix: string
  /** The rest of the path, and the query. */
  readonly path: string
}

const pathPattern = /^(\/v1\/agents\/([^/?]*)\/http\/([^/?]*))([/?].*)?$/

/** The service of a path; undefined for one that is another route's. Throws `bad-name` and `bad-request`. */
export function serviceOfPath({ path }: Pick<RequestTarget, "path">): PathService | undefined {
  const [, prefix, name, digits, rest = ""] = pathPattern.exec(path) ?? []
  if (prefix === undefined || digits === undefined) return undefined
  const agent = requireName(name)
  const port = portOf(digits)
  if (port === undefined) throw new TunnelError("bad-request", `"${digits}" is not a port: a number from 1 to 65535`)
  return { agent, port, prefix, path: rest.startsWith("/") ? rest : `/${rest}` }
}
