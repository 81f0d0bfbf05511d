/** `PUT` and `DELETE /v1/heartbeats/NAME`: how an agent that can be reached at a URL registers. */
import { checkBody, InvalidBody, type Labels, labelsSchema, limits, TunnelError } from "@trunkline/protocol"
import { json } from "../answer.ts"
import { requireAgent } from "../auth.ts"
import {
  deleteHeartbeat,
  type Heartbeat,
  heartbeatFits,
  heartbeatLifeMs,
  heartbeatPeriodMs,
  heartbeatRule,
  readHeartbeat,
  writeHeartbeat,
} from "../heartbeats.ts"
import { readJsonObject } from "../request-body.ts"
import { type Call, type Route, requireName } from "../route.ts"

/** Characters; the longest URL common software takes. */
const urlLengthMax = 2_048
const versionLengthMax = 64

export const heartbeatRoutes: readonly Route[] = [{ path: "/v1/heartbeats/:name", methods: { PUT: put, DELETE: remove } }]

/** 201 for a first heartbeat, 200 for a renewal. */
async function put({ request, env, secrets, params }: Call): Promise<Response> {
  const name = requireName(params.name)
  await requireAgent(request, secrets, name)
  const body = await readJsonObject(request)
  const now = Date.now()
  const registration = { url: readUrl(body.url), version: readVersion(body.version), labels: readLabels(body.labels) }
  const earlier = await readHeartbeat(env.KV, name)
  const heartbeat: Heartbeat = { ...registration, since: earlier?.since ?? now, lastSeen: now }
  if (!heartbeatFits(heartbeat)) throw new TunnelError("bad-request", heartbeatRule)
  await writeHeartbeat(env.KV, name, heartbeat)
  return json({ name, periodMs: heartbeatPeriodMs, expiresAt: now + heartbeatLifeMs }, earlier === undefined ? 201 : 200)
}

/** 204, whether or not there was a record. */
async function remove({ request, env, secrets, params }: Call): Promise<Response> {
  const name = requireName(params.name)
  await requireAgent(request, secrets, name)
  await deleteHeartbeat(env.KV, name)
  return new Response(null, { status: 204 })
}

function readUrl(value: unknown): string {
  const url = typeof value === "string" && value.length <= urlLengthMax ? URL.parse(value) : null
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new TunnelError("bad-request", `url is an http or https URL of at most ${urlLengthMax} characters`)
  }
  if (url.username !== "" || url.password !== "") {
    throw new TunnelError("bad-request", "url holds credentials, which everybody who may list endpoints would see: leave them out")
  }
  if (url.search !== "" || url.hash !== "") {
    throw new TunnelError("bad-request", "url has a query or a fragment: the link's path is put behind it, so it must end with its path")
  }
  return url.href.replace(/\/+$/, "")
}

function readVersion(value: unknown): string {
  // Control characters would reach the terminals of those who list endpoints.
  if (typeof value !== "string" || value.length > versionLengthMax || /\p{Cc}/u.test(value)) {
    throw new TunnelError("bad-request", `version is text of at most ${versionLengthMax} characters, none of them a control character`)
  }
  return value
}

function readLabels(value: unknown): Labels {
  try {
    return checkBody(labelsSchema, value ?? {})
  } catch (error) {
    if (!(error instanceof InvalidBody)) throw error
    throw new TunnelError(
      "bad-request",
      `labels: ${error.message} (at most ${limits.labelsMax}, each part at most ${limits.labelLengthMax} characters)`,
    )
  }
}
