/** What rules say about one address or one path. */
import { realpathSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { type Address, facesOf } from "./address.ts"
import { bitsOf, specialPrefix } from "./network.ts"
import { type HostRule, includesAddress, includesPath, type PathRule } from "./rule.ts"

/** `deny`: a rule says so. `unallowed`: none says anything. `special`: only a rule that names it would do. */
export type Verdict = "allowed" | "deny" | "unallowed" | "special"

/** `byName`: that its name is allowed is enough. */
export function judgeAddress(
  address: Address,
  { allow, deny, byName }: { readonly allow: readonly HostRule[]; readonly deny: readonly HostRule[]; readonly byName: boolean },
): Verdict {
  const faces = facesOf(address)
  if (deny.some((rule) => faces.some((face) => includesAddress(rule, face)))) return "deny"
  for (const face of faces) {
    const prefix = specialPrefix(face)
    if (prefix > 0 && !allow.some((rule) => prefixAt(rule, face) >= prefix || prefixAt(rule, address) === bitsOf(address.family)))
      return "special"
  }
  return byName || allow.some((rule) => includesAddress(rule, address)) ? "allowed" : "unallowed"
}

/** Bits of the rule's range if the address is in it, else 0. Ranges that share an address are nested, so the longer one is inside the other. */
const prefixAt = ({ host }: HostRule, address: Address): number =>
  host.type === "network" && host.network.includes(address) ? host.network.prefix : 0

/** The file system is looked at only for a path that some rule allows: which there are, and on which disks, is not a client's to try out. */
export function judgePath(path: string, allow: readonly PathRule[], deny: readonly PathRule[]): Verdict {
  if (deny.some((rule) => includesPath(rule, path))) return "deny"
  if (!allow.some((rule) => includesPath(rule, path))) return "unallowed"
  // A link must not be a way around what is denied, whichever of its names it was denied under, nor from what a * stands for to another place.
  const real = realPath(path)
  if (deny.some((rule) => [path, real].some((name) => includesPath(rule, name) || includesPath(realRule(rule), name)))) return "deny"
  return allow.some((rule) => includesPath(realRule(rule), real)) ? "allowed" : "unallowed"
}

const realRule = (rule: PathRule): PathRule => {
  if (!rule.prefix) return { ...rule, path: realPath(rule.path) }
  const end = rule.path.lastIndexOf("/") + 1
  return { ...rule, path: join(realPath(rule.path.slice(0, end)), "/", rule.path.slice(end)) }
}

/** Of what is not there, what its directory makes of it. */
function realPath(path: string): string {
  try {
    // The system's own, which also knows where the case of letters does not count.
    return realpathSync.native(path)
  } catch {
    if (path === "/") return path
    return join(realPath(dirname(path)), basename(path))
  }
}
