/** `POST /v1/tickets {"agent": NAME}`: a ticket with which a browser opens one link to that agent. */
import { json } from "../answer.ts"
import { gatewayPrincipal, requireGateway } from "../auth.ts"
import { readJsonObject } from "../request-body.ts"
import { type Route, requireName } from "../route.ts"
import { mintTicket } from "../tickets.ts"

export const ticketRoutes: readonly Route[] = [
  {
    path: "/v1/tickets",
    methods: {
      async POST({ request, secrets }) {
        await requireGateway(request, secrets)
        const { agent } = await readJsonObject(request)
        const name = requireName(typeof agent === "string" ? agent : undefined)
        return json(await mintTicket(secrets, name, gatewayPrincipal, Date.now()), 201)
      },
    },
  },
]
