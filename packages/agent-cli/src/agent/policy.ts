/**
 * What a principal's scopes let it do, asked for every stream that is opened, after the gateway's own check. Which targets the machine's owner
 * allows at all is `targets/owner-policy`.
 */
import { type HttpTarget, type Kind, type Principal, type StreamTarget, TunnelError, targetText } from "@trunkline/protocol"
import { readHost } from "../targets/address.ts"
import { includesAddress, includesPath, includesPort, namesHost, type Rule, readRule, type Use } from "../targets/rule.ts"
import { UsageError } from "../usage-error.ts"

/** Any of these lets a principal open streams of the kind; which processes it then may see and touch the process says. */
const scopes: Readonly<Record<Kind, readonly string[]>> = {
  exec: ["exec"],
  pty: ["pty"],
  attach: ["exec", "pty"],
  processes: ["read", "exec", "pty"],
  tcp: ["tcp"],
  listen: ["tcp"],
  accept: ["tcp"],
  http: ["http"],
  websocket: ["http"],
}

/** Kinds with a target, and so the scopes that can be narrowed to some: `tcp:HOST:PORT`, `tcp:unix:PATH`, `http:PORT`, as the owner's rules are written. */
type TargetKind = "tcp" | "http" | "websocket"
const narrowedUse: Readonly<Record<TargetKind, Use>> = { tcp: "tcp", http: "http", websocket: "http" }
const hasTarget = (kind: Kind): kind is TargetKind => Object.hasOwn(narrowedUse, kind)

const isUnlimited = ({ scopes: own }: Principal, kind: Kind): boolean =>
  own.includes("admin") || scopes[kind].some((scope) => own.includes(scope))

const narrowed = ({ scopes: own }: Principal, kind: TargetKind): readonly string[] =>
  own.filter((scope) => scope.startsWith(`${narrowedUse[kind]}:`))

/** Undefined, or why not. The scope `admin` is for all of them. A scope that is narrowed to some targets lets the kind through, for `targetRefusal`. */
export function refusal(principal: Principal, kind: Kind): TunnelError | undefined {
  if (isUnlimited(principal, kind) || (hasTarget(kind) && narrowed(principal, kind).length > 0)) return undefined
  return new TunnelError("denied", `"${principal.id}" may not use ${kind} on this machine`)
}

/** Whether `targetRefusal` has to be asked: where not, the target need not be read for it. */
export const isNarrowed = (principal: Principal, kind: Kind): kind is TargetKind => hasTarget(kind) && !isUnlimited(principal, kind)

/**
 * Undefined, or why not. What is compared is what was asked for: a scope of an address is not for a name that stands for it, other than for
 * loopback. A scope for a port of loopback, as `http:8443`, is for the service of that number as well.
 */
export function targetRefusal(principal: Principal, kind: TargetKind, target: StreamTarget | HttpTarget): TunnelError | undefined {
  if (isUnlimited(principal, kind)) return undefined
  const own = narrowed(principal, kind)
  if (own.some((scope) => covers(scope, target))) return undefined
  return new TunnelError(
    "denied",
    `"${principal.id}" may not use ${kind} to ${targetText(target)} on this machine: its scopes are for ${own.length === 0 ? "nothing" : own.join(", ")}`,
  )
}

function covers(scope: string, target: StreamTarget | HttpTarget): boolean {
  const rule = ruleOf(scope)
  if (rule === undefined) return false
  if ("path" in target) return rule.type === "path" && includesPath(rule, target.path)
  const { host, port } = "service" in target ? { host: "localhost", port: target.service } : target
  if (rule.type === "path" || !includesPort(rule.ports, port)) return false
  const known = readHost(host)
  if (known === undefined) return false
  return known.type === "name" ? namesHost(rule, known.name) : includesAddress(rule, known.address)
}

/** Undefined for a scope that is no rule: it allows nothing. */
function ruleOf(scope: string): Rule | undefined {
  try {
    return readRule(scope)
  } catch (error) {
    if (error instanceof UsageError) return undefined
    throw error
  }
}
