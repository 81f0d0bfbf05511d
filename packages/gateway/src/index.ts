/** The gateway's Worker and its Durable Objects: the same bundle on Cloudflare and in workerd on one's own machine. */
import type { Env } from "./env.ts"
import { execRoutes } from "./http-edge/exec.ts"
import { hearOut } from "./linger.ts"
import type { Route } from "./route.ts"
import { createRouter } from "./router.ts"
import { adminRoutes } from "./routes/admin.ts"
import { endpointRoutes } from "./routes/endpoints.ts"
import { healthRoutes } from "./routes/health.ts"
import { heartbeatRoutes } from "./routes/heartbeats.ts"
import { processRoutes } from "./routes/processes.ts"
import { answerService } from "./routes/services.ts"
import { socketRoutes } from "./routes/sockets.ts"
import { ticketRoutes } from "./routes/tickets.ts"

export { AgentSocket } from "./agent/agent-socket.ts"
export { Agents, type AgentsProps } from "./agents.ts"
export { Registry } from "./registry/registry.ts"

const routes: readonly Route[] = [
  ...healthRoutes,
  ...socketRoutes,
  ...ticketRoutes,
  ...endpointRoutes,
  ...heartbeatRoutes,
  ...execRoutes,
  ...processRoutes,
  ...adminRoutes,
]

const answerApi = createRouter(routes)

export default {
  async fetch(request, env, ctx) {
    const response = (await answerService(request, env, ctx)) ?? (await answerApi(request, env, ctx))
    // A refusal may come before anybody has looked at the body.
    if (response.status >= 400) await hearOut(request.body)
    return response
  },
} satisfies ExportedHandler<Env>
