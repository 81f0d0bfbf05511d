/** The ways to one service: straight to it, and through the gateway by path and by host. */
import { type Case, requestHead } from "./case.ts"
import { type RawAnswer, RawClient } from "./raw-client.ts"
import { type Body, type End, type Header, valuesOf } from "./raw-http.ts"
import { caseHeader, type Heard, type RawService, type SeenRequest } from "./raw-service.ts"
import type { Pieces } from "./write.ts"

export interface Way {
  readonly name: "direct" | "path" | "host"
  readonly port: number
  /** The Host that the client sends, and the one that the service is to see. */
  readonly host: string
  readonly seenHost: string
  /** What stands in front of the service's path. */
  readonly prefix: string
}

export interface Ways {
  readonly service: RawService
  readonly direct: Way
  readonly path: Way
  readonly host: Way
  readonly secret: string
}

export function waysTo(
  service: RawService,
  { name, port, secret }: { readonly name: string; readonly port: number; readonly secret: string },
): Ways {
  const local = `localhost:${service.port}`
  const byHost = `${service.port}--${name}.localhost:${port}`
  return {
    service,
    secret,
    direct: { name: "direct", port: service.port, host: local, seenHost: local, prefix: "" },
    path: { name: "path", port, host: `127.0.0.1:${port}`, seenHost: local, prefix: `/v1/agents/${name}/http/${service.port}` },
    host: { name: "host", port, host: byHost, seenHost: byHost, prefix: "" },
  }
}

/** The bytes of a request on its way. */
export function requestOn(way: Way, { secret }: Ways, asked: Pick<Case, "method" | "path" | "version" | "headers">, name: string): string {
  const target = way.prefix + (asked.path === "*" && way.prefix !== "" ? "/*" : asked.path)
  return requestHead(asked.method, target, asked.version, [
    ["Host", way.host],
    [caseHeader, name],
    ...credentials(way, secret, asked.headers),
    ...asked.headers,
  ])
}

/** The service's own credential keeps its header. */
function credentials({ name }: Way, secret: string, headers: readonly Header[]): readonly Header[] {
  if (name === "direct") return []
  const free = name === "path" && valuesOf(headers, "authorization").length === 0
  return [[free ? "Authorization" : "Trunkline-Authorization", `Bearer ${secret}`]]
}

export interface Observed {
  readonly answer: RawAnswer | Exclude<End, "whole">
  /** What came to the service. */
  readonly seen: readonly SeenRequest[]
}

/** Without what is this way's and right. */
const anywhere = (request: SeenRequest, { seenHost }: Way): SeenRequest => ({
  ...request,
  headers: request.headers
    .filter(([name]) => name.toLowerCase() !== caseHeader)
    .map(([name, value]): Header => [name, name.toLowerCase() === "host" && value === seenHost ? "(as it should)" : value]),
})

let count = 0

/** When a client looks for the answer: while it sends; and then it sends no more; when it has sent everything. */
export type Look = "meanwhile" | "instead" | "afterwards"

export async function observe(way: Way, ways: Ways, asked: Case, look: Look = "meanwhile"): Promise<Observed> {
  const client = await RawClient.connect(way.port)
  const { heard, pieces } = prepare(way, ways, asked)
  try {
    const sending = client.write(pieces())
    if (look === "afterwards") await sending
    const answer = await client.answer(asked.method)
    if (look === "instead") client.close()
    else await sending
    return await observed(way, answer, heard)
  } finally {
    client.close()
  }
}

/** Sends them over one connection: each when the one before is answered, or all at once. */
export async function observeMany(way: Way, ways: Ways, list: readonly Case[], atOnce: boolean): Promise<readonly Observed[]> {
  const client = await RawClient.connect(way.port)
  const prepared = list.map((asked) => ({ ...prepare(way, ways, asked), method: asked.method }))
  const all: Observed[] = []
  try {
    if (atOnce) for (const { pieces } of prepared) await client.write(pieces())
    for (const { heard, pieces, method } of prepared) {
      if (!atOnce) await client.write(pieces())
      all.push(await observed(way, await client.answer(method), heard))
    }
    return all
  } finally {
    client.close()
  }
}

function prepare(way: Way, ways: Ways, asked: Case): { readonly heard: Heard; readonly pieces: () => Pieces } {
  const name = `${way.name}-${count++}`
  const heard = ways.service.on(name, asked.answer)
  async function* pieces() {
    yield requestOn(way, ways, asked, name)
    yield* asked.body()
  }
  return { heard, pieces }
}

async function observed(way: Way, answer: Observed["answer"], heard: Heard): Promise<Observed> {
  // Where the service was asked at all, its script goes on until it has read what it reads.
  if (heard.begun()) await heard.first
  return { answer, seen: heard.requests.map((request) => anywhere(request, way)) }
}

/** A line for each fact, so that what differs is seen at a glance. */
export function shown({ answer, seen }: Observed): readonly string[] {
  const fields = (headers: readonly Header[]): string[] => headers.map(([name, value]) => `  ${name}: ${value}`)
  const body = ({ bytes, sha256, end, trailers }: Body): string[] => [`  ${bytes} bytes ${sha256}, ${end}`, ...fields(trailers)]
  const answered =
    typeof answer === "string"
      ? [`answer: ${answer}`]
      : [
          `answer: ${[...answer.interim, `HTTP/${answer.version}`, answer.status, answer.reason].join(" ")}`,
          ...fields(answer.headers),
          `  ${answer.framing}`,
          ...body(answer.body),
        ]
  return [...answered, ...seen.flatMap((request) => [`seen: ${request.line}`, ...fields(request.headers), ...body(request.body)])]
}
