/** Clients that lie, push their way in, or ask for too much: what they get, and that nobody else's process or link feels it. */
import { once } from "node:events"
import { readdir, readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import type { Agent, Process } from "@trunkline/client"
import {
  byteOffset,
  controlOffset,
  encodeLinkControl,
  frameBytes,
  type LinkControl,
  type LinkHello,
  linkHeaderBytes,
  parseLinkControl,
  readLinkHeader,
  subprotocol,
  ticketSubprotocolPrefix,
  unassignedSlot,
  writeFrame,
  writeLinkHeader,
} from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { World } from "./world.ts"

let world: World
let agent: Agent
beforeAll(async () => {
  world = await World.start()
  await world.agent("box")
  agent = world.client().agent("box")
})
afterAll(() => world.stop())

interface Closed {
  readonly code: number
  readonly reason: string
}

/** A client's socket without a client: says what it is told to, and hears link control messages alone. */
class RawClient {
  readonly #socket: WebSocket
  readonly #heard: LinkControl[] = []
  readonly #waiting = new Set<() => void>()
  closed: Closed | undefined

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.binaryType = "arraybuffer"
    socket.addEventListener("message", ({ data }) => {
      if (!(data instanceof ArrayBuffer)) return
      const message = new Uint8Array(data)
      if (readLinkHeader(message)?.offset === controlOffset) this.#heard.push(parseLinkControl(message.subarray(linkHeaderBytes)))
      for (const look of this.#waiting) look()
    })
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason }
      for (const look of this.#waiting) look()
    })
  }

  static async open(): Promise<RawClient> {
    const response = await world.fetch("/v1/tickets", { method: "POST", body: JSON.stringify({ agent: "box" }) })
    const { ticket } = (await response.json()) as { ticket: string }
    const url = new URL("/v1/agents/box/link", world.url.replace("http", "ws"))
    const client = new RawClient(new WebSocket(url, [subprotocol, `${ticketSubprotocolPrefix}${ticket}`]))
    await once(client.#socket, "open")
    return client
  }

  /** With a link of its own, if nothing else is asked for. */
  static async greeted(hello: Partial<LinkHello> = {}): Promise<RawClient> {
    const client = await RawClient.open()
    client.say(helloOf(hello))
    await client.hears("welcome")
    return client
  }

  say(control: LinkControl): void {
    this.#socket.send(encodeLinkControl(control, byteOffset(0)).slice())
  }

  /** A PING at an offset of the sequence, with an acknowledgement. */
  ping({ offset, ack }: { readonly offset: number; readonly ack: number }): void {
    const frame = { type: "ping", token: new Uint8Array(8) } as const
    const message = new Uint8Array(linkHeaderBytes + frameBytes(frame))
    writeLinkHeader(message, { slot: unassignedSlot, offset: byteOffset(offset), ack: byteOffset(ack) })
    writeFrame(message, linkHeaderBytes, frame)
    this.#socket.send(message)
  }

  hears(type: LinkControl["type"]): Promise<LinkControl> {
    return this.#until(() => this.#heard.find((control) => control.type === type))
  }

  ends(): Promise<Closed> {
    return this.#until(() => this.closed)
  }

  close(): void {
    this.#socket.close()
  }

  #until<Value>(found: () => Value | undefined): Promise<Value> {
    return new Promise((resolve) => {
      const look = () => {
        const value = found()
        if (value === undefined) return
        this.#waiting.delete(look)
        resolve(value)
      }
      this.#waiting.add(look)
      look()
    })
  }
}

const random = (bytes: number): string => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("base64url")

const helloOf = (hello: Partial<LinkHello>): LinkHello => ({
  type: "hello",
  protocol: { min: 1, max: 1 },
  link: random(16),
  secret: random(32),
  attempt: 1,
  received: byteOffset(0),
  window: 1_048_576,
  ...hello,
})

describe("a link", () => {
  test("is not resumed with another secret, or with an attempt that is not newer, and does not feel that somebody tried", async () => {
    const own = { link: random(16), secret: random(32) }
    const honest = await RawClient.greeted(own)
    for (const forged of [{ ...own, secret: random(32), attempt: 2 }, own]) {
      const thief = await RawClient.open()
      thief.say(helloOf(forged))
      expect(await thief.hears("refused")).toMatchObject({ code: "denied", message: "this link cannot be resumed from here" })
      expect(await thief.ends()).toEqual({ code: 1000, reason: "refused: denied" })
    }
    expect(honest.closed).toBeUndefined()
    const again = await RawClient.open()
    again.say(helloOf({ ...own, attempt: 2 }))
    expect(await again.hears("welcome")).toMatchObject({ resumed: true })
    again.close()
  })

  test("is ended when its client says it has received what was never sent", async () => {
    const own = { link: random(16), secret: random(32) }
    await RawClient.greeted(own)
    const liar = await RawClient.greeted({ ...own, attempt: 2, received: byteOffset(5_000_000) })
    expect(await liar.ends()).toEqual({ code: 1002, reason: "link ended: protocol-error" })
  })

  test.each([
    ["acknowledges what was never sent", { offset: 0, ack: 1_000_000_000 }],
    ["acknowledges the highest number there is", { offset: 0, ack: 0xffff_ffff_ffff }],
    ["leaves bytes out", { offset: 5_000, ack: 0 }],
    ["begins behind the last byte there can be", { offset: 0xffff_ffff_fffe, ack: 0 }],
  ])("is ended when its client %s", async (_what, header) => {
    const liar = await RawClient.greeted()
    liar.ping(header)
    expect(await liar.hears("end")).toMatchObject({ code: "protocol-error" })
    expect(await liar.ends()).toMatchObject({ code: 1002 })
  })
})

describe("a client that may only read", () => {
  const denied = { code: "denied", message: "this attachment is read-only: it cannot write to the process or signal it" }

  test.each(["exec", "pty"] as const)(
    "can neither write to, signal, nor resize a process of the kind %s, nor end its input",
    async (kind) => {
      const script = "while read -r line; do echo got $line; done; echo end"
      const owner =
        kind === "exec"
          ? await agent.spawn(["sh", "-c", script], { stdin: "pipe" })
          : await agent.pty.create({ cols: 80, rows: 24, command: ["sh", "-c", `stty -echo; ${script}`] })
      const attach = (): Promise<Process> => agent.processes.attach(owner.id, { from: "live", readOnly: true })

      const writer = await attach()
      await writer.write(Buffer.from("evil\n"))
      await expect(writer.wait()).rejects.toMatchObject(denied)
      const killer = await attach()
      killer.kill("SIGKILL")
      await expect(killer.wait()).rejects.toMatchObject(denied)
      const quiet = await attach()
      quiet.resize(20, 5)
      quiet.closeInput()
      await agent.ping()

      const { state, size, attached } = await agent.processes.get(owner.id)
      expect({ state, size, attached }).toEqual({
        state: "running",
        size: kind === "pty" ? { cols: 80, rows: 24 } : undefined,
        attached: 2,
      })
      // The quiet one still sees all.
      const seen = text(quiet)
      await owner.write(Buffer.from(kind === "pty" ? "mine\n\u0004" : "mine\n"))
      if ("closeInput" in owner) owner.closeInput()
      expect((await seen).replaceAll("\r", "")).toBe("got mine\nend\n")
    },
  )
})

async function text(process: Process): Promise<string> {
  let shown = ""
  for await (const event of process.output()) if (event.type === "stdout") shown += Buffer.from(event.bytes).toString()
  return shown
}

describe("a process with more output than its journal", () => {
  /** The id of one that nobody has seen, once it has ended. */
  async function left(where: Agent, script: string): Promise<string> {
    const started = await where.spawn(["sh", "-c", script], { detach: true })
    started.disconnect()
    await world.until(async () => (await where.processes.get(started.id)).state === "ended")
    return started.id
  }

  test("is kept after its end also where the journal is as large as it may be", async () => {
    await world.agent("large", ["--journal-bytes", "64MiB"])
    const large = world.client().agent("large")
    const id = await left(large, "head -c 70000000 /dev/zero")
    const { output } = await large.processes.get(id)
    expect(output.to).toBe(70_000_000)
    expect(output.to - output.from).toBeGreaterThanOrEqual(67_108_864)
  })

  test("is a truncated one in JSON, also where its beginning was not asked for", async () => {
    const id = await left(agent, "head -c 3000000 /dev/zero; exit 3")
    const { code, stdout, stderr } = await world.run(["attach", "box", id, "-o", "json"])
    expect(stderr).toMatch(/^trunkline: the first \d+ bytes of its output are not kept any more\n/)
    expect({ code, document: JSON.parse(stdout.toString()) }).toMatchObject({ code: 3, document: { exitCode: 3, truncated: true } })
  })
})

describe("a keeper", () => {
  test("and what it runs hold no secret, in their arguments or around them, and its files are its user's alone", async () => {
    await world.agent("secretive", [], { TRUNKLINE_SECRET: world.secret })
    const running = await world.client().agent("secretive").spawn(["sleep", "60"])
    for (const pid of [await world.keeper("secretive"), running.pid]) {
      for (const file of ["cmdline", "environ"]) expect(await readFile(`/proc/${pid}/${file}`, "utf8")).not.toContain(world.secret)
    }
    running.kill("SIGKILL")
    const directory = join(world.stateHome, "trunkline")
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    for (const file of await readdir(directory)) {
      if (/\.(sock|pid|runs)$/.test(file))
        expect({ file, mode: (await stat(join(directory, file))).mode & 0o777 }).toEqual({ file, mode: 0o600 })
    }
  })

  test("has as many descriptors after a hundred commands and twenty terminals as after the first of each", async () => {
    const runBoth = async (): Promise<void> => {
      await agent.exec(["true"])
      await (await agent.pty.create({ cols: 80, rows: 24, command: ["true"] })).wait()
    }
    const keeper = await world.keeper("box")
    const descriptors = async (): Promise<number> => (await readdir(`/proc/${keeper}/fd`)).length
    await runBoth()
    const before = await descriptors()
    await Promise.all(Array.from({ length: 20 }, runBoth))
    await Promise.all(Array.from({ length: 80 }, () => agent.exec(["true"])))
    await world.until(async () => (await descriptors()) <= before)
  })
})
