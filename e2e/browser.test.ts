/** The SDK in a page of a real browser, on another origin than the gateway: Web APIs alone, tickets instead of headers. */
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { openSdkPage, type SdkPage } from "./chromium.ts"
import { SmallServices } from "./small-services.ts"
import { World } from "./world.ts"

/** What the page's functions find in their own global scope. They are sent as text, so they can use nothing of this file. */
declare const sdk: typeof import("@trunkline/client")

interface Access {
  readonly url: string
  readonly token: string
}

describe("the SDK in a browser", () => {
  let world: World
  let sdkPage: SdkPage
  let access: Access
  let services: SmallServices
  beforeAll(async () => {
    world = await World.start()
    services = await SmallServices.start()
    await world.agent("box", ["--label", "team=web", "--allow", "listen:127.0.0.1:*"])
    sdkPage = await openSdkPage()
    access = { url: world.url, token: world.secret }
  })
  afterAll(async () => {
    await sdkPage.close()
    await world.stop()
    services.stop()
  })

  test("runs commands: output apart, exit code, input", async () => {
    const result = await sdkPage.page.evaluate(async (access) => {
      const gateway = sdk.connect(access)
      const result = await gateway.agent("box").exec("cat; echo problem >&2; exit 3", { stdin: "from the page\n" })
      gateway.close()
      return result
    }, access)
    expect(result).toMatchObject({ exitCode: 3, stdout: "from the page\n", stderr: "problem\n", outcome: "exited" })
  })

  test("carries every byte both ways", async () => {
    const { sent, received, bytes } = await sdkPage.page.evaluate(async (access) => {
      const gateway = sdk.connect(access)
      const input = new Uint8Array(3_000_000)
      for (let at = 0; at < input.byteLength; at += 65_536) crypto.getRandomValues(input.subarray(at, at + 65_536))
      const process = await gateway.agent("box").spawn(["cat"], { stdin: "pipe" })
      // Not awaited before the output is read: `cat` would wait for a reader.
      const written = process.write(input).then(() => process.closeInput())
      const chunks: Uint8Array<ArrayBuffer>[] = []
      for await (const event of process.output()) if (event.type === "stdout") chunks.push(event.bytes.slice())
      await written
      gateway.close()
      const output = await new Blob(chunks).arrayBuffer()
      // `crypto.subtle` is there: a loopback address counts as secure.
      const hex = async (data: BufferSource) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", data))].join()
      return { sent: await hex(input), received: await hex(output), bytes: output.byteLength }
    }, access)
    expect(bytes).toBe(3_000_000)
    expect(received).toBe(sent)
  })

  test("keeps bytes that are no text exact", async () => {
    const script = String.raw`i=0; while [ $i -lt 256 ]; do printf "\\$(printf %o $i)"; i=$((i + 1)); done`
    const bytes = await sdkPage.page.evaluate(
      async ({ access, script }) => {
        const gateway = sdk.connect(access)
        const process = await gateway.agent("box").spawn(["sh", "-c", script])
        const bytes: number[] = []
        for await (const event of process.output()) if (event.type === "stdout") bytes.push(...event.bytes)
        gateway.close()
        return bytes
      },
      { access, script },
    )
    expect(bytes).toEqual(Array.from({ length: 256 }, (_, byte) => byte))
  })

  test("opens a terminal, types into it, resizes it and reads it to its end", async () => {
    const { output, exit } = await sdkPage.page.evaluate(async (access) => {
      const gateway = sdk.connect(access)
      const terminal = await gateway.agent("box").pty.create({ cols: 91, rows: 17, command: ["sh"], env: { PS1: "$ " } })
      const reader = terminal.output.getReader()
      const decoder = new TextDecoder()
      let output = ""
      const until = async (text: string) => {
        while (!output.includes(text)) {
          const { done, value } = await reader.read()
          if (done) throw new Error(`ended before ${text}: ${output}`)
          output += decoder.decode(value, { stream: true })
        }
      }
      await until("$ ")
      await terminal.write("stty size\r")
      await until("17 91")
      terminal.resize(40, 11)
      await terminal.write("stty size\r")
      await until("11 40")
      await terminal.write("exit 5\r")
      while (!(await reader.read()).done);
      const { exit } = await terminal.wait()
      gateway.close()
      return { output, exit }
    }, access)
    expect(output).toContain("17 91")
    expect(exit).toEqual({ type: "code", code: 5 })
  })

  test("lists the endpoints", async () => {
    const { endpoints } = await sdkPage.page.evaluate((access) => sdk.connect(access).endpoints.list({ labels: { team: "web" } }), access)
    expect(endpoints).toMatchObject([{ name: "box", status: "online", labels: { team: "web" } }])
  })

  test("fetches from a service: JSON, a gzip answer, a body that streams while its answer comes", async () => {
    const seen = await sdkPage.page.evaluate(
      async ({ access, port }) => {
        const gateway = sdk.connect(access)
        const agent = gateway.agent("box")
        const base = `http://localhost:${port}`
        // A page may neither set a cookie nor be without a user agent of its own, were it not for the tunnel.
        const json = await (await agent.fetch(`${base}/json`, { headers: { cookie: "a=b" } })).json()
        const gzip = await (await agent.fetch(`${base}/gzip`)).text()
        const source = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>()
        const body = new ReadableStream<Uint8Array>({ start: source.resolve })
        const upload = await source.promise
        upload.enqueue(new Uint8Array(4))
        const running = await agent.fetch(`${base}/running`, { method: "POST", body })
        const reader = running.body?.pipeThrough(new TextDecoderStream()).getReader()
        const lines = [(await reader?.read())?.value]
        upload.enqueue(new Uint8Array(3))
        lines.push((await reader?.read())?.value)
        upload.close()
        lines.push((await reader?.read())?.value)
        gateway.close()
        return { json, gzip: gzip.length, lines }
      },
      { access, port: services.httpPort },
    )
    expect(seen).toEqual({
      json: { method: "GET", headers: { host: `localhost:${services.httpPort}`, cookie: "a=b" } },
      gzip: 60_000,
      lines: ["4\n", "7\n", "end\n"],
    })
  })

  test("whose fetch is aborted ends the request at the service", async () => {
    const before = services.abandoned
    const error = await sdkPage.page.evaluate(
      async ({ access, port }) => {
        const gateway = sdk.connect(access)
        const signal = AbortSignal.timeout(300)
        try {
          await gateway.agent("box").fetch(`http://localhost:${port}/silent`, { signal })
          return "no error"
        } catch (error) {
          return error instanceof sdk.TunnelError ? { code: error.code, reason: (error.cause as Error).name } : String(error)
        } finally {
          gateway.close()
        }
      },
      { access, port: services.httpPort },
    )
    expect(error).toEqual({ code: "aborted", reason: "TimeoutError" })
    await world.until(() => services.abandoned === before + 1)
  })

  test("speaks TCP, each half with an end of its own", async () => {
    const answer = await sdkPage.page.evaluate(
      async ({ access, port }) => {
        const gateway = sdk.connect(access)
        const socket = await gateway.agent("box").connect({ port })
        const writer = socket.writable.getWriter()
        await writer.write(new TextEncoder().encode("from the page"))
        await writer.close()
        const text = await new Response(socket.readable).text()
        await socket.closed
        gateway.close()
        return text
      },
      { access, port: services.echoPort },
    )
    expect(answer).toBe("from the page and the end")
  })

  test("listens at the agent, and answers who connects there", async () => {
    const seen = await sdkPage.page.evaluate(async (access) => {
      const gateway = sdk.connect(access)
      const agent = gateway.agent("box")
      const listener = await agent.listen({ host: "127.0.0.1", port: 0 })
      if (!("port" in listener.address)) throw new Error("no port")
      const caller = await agent.connect({ port: listener.address.port })
      const { value: incoming } = await listener.connections.next()
      const callee = await incoming?.accept()
      const piped = callee?.readable.pipeTo(callee.writable)
      const writer = caller.writable.getWriter()
      await writer.write(new TextEncoder().encode("round trip"))
      await writer.close()
      const text = await new Response(caller.readable).text()
      await piped
      await listener.connections.return?.()
      const { done } = await listener.connections.next()
      gateway.close()
      return { text, from: incoming?.from?.address, done }
    }, access)
    expect(seen).toEqual({ text: "round trip", from: "127.0.0.1", done: true })
  })

  test("has a WebSocket to a service: text, bytes, a subprotocol, and a close with its reason", async () => {
    const said = await sdkPage.page.evaluate(
      async ({ access, port }) => {
        const gateway = sdk.connect(access)
        const socket = await gateway.agent("box").webSocket({ target: { service: port }, path: "/socket", protocols: ["a", "b"] })
        if (socket.type !== "open") throw new Error(`refused with ${socket.status}`)
        const reader = socket.messages.getReader()
        await socket.send("grüße")
        const text = (await reader.read()).value
        const [, bytes] = await Promise.all([socket.send(new Uint8Array(1_500_000).fill(7)), reader.read()])
        socket.close(4321, "enough")
        const { done } = await reader.read()
        const close = await socket.closed
        gateway.close()
        return { protocol: socket.protocol, text, bytes: bytes.value?.length, last: bytes.value?.at(-1), done, close }
      },
      { access, port: services.httpPort },
    )
    const close = { code: 4321, reason: "enough" }
    expect(said).toEqual({ protocol: "b", text: "grüße", bytes: 1_500_000, last: 7, done: true, close })
  })

  test("a wrong token, an unknown agent and one that is away are three typed errors", async () => {
    const agent = await world.agent("gone")
    agent.child.kill("SIGKILL")
    await world.until(async () => (await world.endpoint("gone"))?.status === "offline")
    const errors = await sdkPage.page.evaluate(async (access) => {
      const failure = async (token: string, agent: string) => {
        const gateway = sdk.connect({ url: access.url, token })
        try {
          await gateway.agent(agent).exec(["true"])
          return "no error"
        } catch (error) {
          return error instanceof sdk.TunnelError ? { code: error.code, delivered: error.delivered } : String(error)
        } finally {
          gateway.close()
        }
      }
      return [await failure("not-the-token", "box"), await failure(access.token, "nobody"), await failure(access.token, "gone")]
    }, access)
    expect(errors).toEqual([
      { code: "unauthorised", delivered: "no" },
      { code: "agent-unknown", delivered: "no" },
      { code: "agent-away", delivered: "no" },
    ])
  })

  test("no URL that the page asked for holds the token, and the socket is among them", () => {
    const gatewayUrls = sdkPage.urls.filter((url) => !url.startsWith(sdkPage.origin))
    expect(gatewayUrls).toContain(`${world.url.replace("http", "ws")}/v1/agents/box/link`)
    expect(gatewayUrls).toContain(`${world.url}/v1/tickets`)
    for (const url of sdkPage.urls) expect(decodeURIComponent(url)).not.toContain(world.secret)
  })
})
