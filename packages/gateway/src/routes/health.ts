/** `GET /healthz`: whether the gateway answers and is configured. No credentials. */
import manifest from "../../package.json" with { type: "json" }
import { json } from "../answer.ts"
import type { Route } from "../route.ts"

export const healthRoutes: readonly Route[] = [
  { path: "/healthz", methods: { GET: async () => json({ ok: true, version: manifest.version }) } },
]
