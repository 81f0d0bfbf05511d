/** The bindings of the gateway: the same names in `wrangler.jsonc`, in raw workerd and in the tests. */
import type { AgentSocket } from "./agent/agent-socket.ts"
import type { Registry } from "./registry/registry.ts"

export interface Env {
  readonly AGENT: DurableObjectNamespace<AgentSocket>
  readonly REGISTRY: DurableObjectNamespace<Registry>
  /** Heartbeat records of agents in tunnel-url mode. Never asked whether a socket is up. */
  readonly KV: KVNamespace
  readonly GATEWAY_SECRET?: string
  /** Still accepted while a secret is being rotated. */
  readonly GATEWAY_SECRET_PREVIOUS?: string
  /** `replace` (default) or `reject`: whether another agent may take a name from a live one. */
  readonly TAKEOVER?: string
  /** The domain whose hosts `PORT--NAME.<domain>` are services of the agents; its wildcard has to lead here. `localhost` is one always. */
  readonly HTTP_DOMAIN?: string
}
