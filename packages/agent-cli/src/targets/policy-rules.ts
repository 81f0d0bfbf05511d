/** The owner's policy, read: what each of its settings means. */
import type { PolicySettings } from "./policy-settings.ts"
import { type Rule, readRule, type Use } from "./rule.ts"
import { type NamedService, readServicePort, readServiceUrl } from "./service-url.ts"

type RulesByUse = Readonly<Record<Use, readonly Rule[]>>

export interface PolicyRules {
  readonly allow: RulesByUse
  readonly deny: RulesByUse
  readonly services: ReadonlyMap<number, NamedService>
}

/** What may be used where no rule allows anything for that use. */
const preset = byUse(["loopback:*", "listen:loopback:*"])

/** Throws UsageError for the first that is none. */
export function readPolicyRules({ allow, deny, services }: Pick<PolicySettings, "allow" | "deny" | "services">): PolicyRules {
  const given = byUse(allow)
  const orPreset = (use: Use) => (given[use].length === 0 ? preset[use] : given[use])
  return {
    allow: { tcp: orPreset("tcp"), http: orPreset("http"), listen: orPreset("listen") },
    deny: byUse(deny),
    services: new Map(Object.entries(services).map(([port, url]) => [readServicePort(port), readServiceUrl(url)])),
  }
}

function byUse(texts: readonly string[]): RulesByUse {
  const rules = texts.map(readRule)
  const of = (use: Use) => rules.filter((rule) => rule.uses.includes(use))
  return { tcp: of("tcp"), http: of("http"), listen: of("listen") }
}
