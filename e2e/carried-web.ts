/** HTTP and WebSockets as users have them, by the SDK and by the gateway's HTTP edge, with transfers over them both ways. */
import { createServer, request } from "node:http"
import { connect } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { expect } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { type Carried, listen, type Place, shapes, type Talkers } from "./carried.ts"
import { Messages, read, readBody, talk, write } from "./transfers.ts"

/** A web server for all of it: what is asked for is the number of the shape. */
function webServer(talkers: readonly Talkers[], place: Place): Promise<number> {
  const server = createServer((asked, answer) => {
    const { up, down } = talkers[Number(asked.url?.slice(1))] ?? {}
    read(up, asked)
    answer.flushHeaders()
    // Of an upload alone the answer's end says that all of it has come.
    if (down === undefined) asked.on("end", () => answer.end())
    else write(down, answer)
  })
  return listen(server, place)
}

function sdk({ world, lines, later }: Place) {
  const gateway = connect({ url: lines.clientLine.url, token: world.secret, dial: dialNode })
  later(() => gateway.close())
  return gateway.agent(lines.name)
}

export async function fetched(place: Place): Promise<Carried> {
  const { talkers, halves, near } = shapes("agent.fetch")
  const port = await webServer(talkers, place)
  const agent = sdk(place)
  const answers = talkers.map(async ({ up, down }, at) => {
    const response = await agent.fetch(`http://127.0.0.1:${port}/${at}`, up === undefined ? {} : { method: "POST", body: up.stream() })
    if (down === undefined) await response.arrayBuffer()
    else await readBody(down, response.body)
  })
  // An answer that fails is told by the half that came with it.
  for (const answer of answers) answer.catch(() => {})
  return { halves, near, ended: async () => void (await Promise.all(answers)) }
}

export async function edgeFetched(place: Place): Promise<Carried> {
  const { talkers, halves, near } = shapes("the HTTP edge")
  const port = await webServer(talkers, place)
  for (const [at, { up, down }] of talkers.entries()) {
    const url = new URL(`/v1/agents/${place.lines.name}/http/${port}/${at}`, place.world.url)
    const asked = request(url, {
      agent: false,
      method: up === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${place.world.secret}` },
    })
    place.later(() => asked.destroy())
    asked.on("error", (error) => {
      down?.broke(error)
      up?.broke(error)
    })
    asked.on("response", (answer) => read(down, answer))
    write(up, asked)
  }
  return { halves, near }
}

/** The client says goodbye on the first socket, the service on the second. */
function talks(kind: string) {
  const pair = (who: string) => ({ up: new Messages(`${kind}, up, ${who}`), down: new Messages(`${kind}, down, ${who}`) })
  const pairs = [pair("the client closes"), pair("the service closes")] as const
  return {
    pairs,
    halves: pairs.flatMap(({ up, down }) => [up, down]),
    near: pairs.map(({ down }) => down),
    goodbyes: [
      { code: 4_001, reason: "by the client" },
      { code: 4_002, reason: "by the service" },
    ] as const,
  }
}
type Talks = ReturnType<typeof talks>

interface Goodbye {
  readonly code: number
  readonly reason: string
}

/** A service for them. Resolves with its port, and with what each of its sockets was closed with. */
async function talkingService({ pairs, goodbyes }: Talks, place: Place) {
  const server = createServer()
  const heard = pairs.map(() => Promise.withResolvers<Goodbye>())
  new WebSocketServer({ server }).on("connection", (socket, { url }) => {
    const at = Number(url?.slice(1))
    const pair = pairs[at]
    if (pair === undefined) return socket.close()
    socket.on("error", () => {})
    socket.on("close", (code, reason) => heard[at]?.resolve({ code, reason: reason.toString() }))
    talk(socket, { writes: pair.down, reads: pair.up })
      .then(() => at === 1 && socket.close(goodbyes[1].code, goodbyes[1].reason))
      .catch(() => {})
  })
  return { port: await listen(server, place), heard: Promise.all(heard.map(({ promise }) => promise)) }
}

/** Each goodbye is heard by the other side as it was said. */
function checkGoodbyes({ goodbyes }: Talks, atService: readonly Goodbye[], atClient: readonly Goodbye[]): void {
  expect([atService[0], atClient[1]]).toEqual(goodbyes)
}

export async function socketed(place: Place): Promise<Carried> {
  const all = talks("agent.webSocket")
  const { port, heard } = await talkingService(all, place)
  const agent = sdk(place)
  const openings = all.pairs.map(async ({ up, down }, at) => {
    const socket = await agent.webSocket({ target: { host: "127.0.0.1", port }, path: `/${at}`, headers: [] })
    if (socket.type !== "open") throw new Error(`refused with ${socket.status}`)
    const sending = (async () => {
      for (const message of up.messages()) await socket.send(message)
    })()
    sending.catch(() => {})
    const talking = (async () => {
      for await (const message of socket.messages) {
        if (!down.take(message)) continue
        await sending
        if (at === 0) socket.close(all.goodbyes[0].code, all.goodbyes[0].reason)
      }
      down.broke(new Error("it closed before its last message"))
    })()
    talking.catch((error: unknown) => down.broke(error))
    return { closed: socket.closed }
  })
  const sockets = await Promise.all(openings)
  const ended = async () => checkGoodbyes(all, await heard, await Promise.all(sockets.map(({ closed }) => closed)))
  return { halves: all.halves, near: all.near, ended }
}

export async function edgeSocketed(place: Place): Promise<Carried> {
  const all = talks("the HTTP edge's WebSocket")
  const { port, heard } = await talkingService(all, place)
  const closes = all.pairs.map(({ up, down }, at) => {
    const url = new URL(`/v1/agents/${place.lines.name}/http/${port}/${at}`, place.world.url.replace("http", "ws"))
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${place.world.secret}` } })
    place.later(() => socket.terminate())
    socket.on("error", (error) => down.broke(error))
    socket.on("open", () => {
      talk(socket, { writes: up, reads: down })
        .then(() => at === 0 && socket.close(all.goodbyes[0].code, all.goodbyes[0].reason))
        .catch(() => {})
    })
    return new Promise<Goodbye>((resolve) => socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })))
  })
  const ended = async () => checkGoodbyes(all, await heard, await Promise.all(closes))
  return { halves: all.halves, near: all.near, ended }
}
