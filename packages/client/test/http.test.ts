import { encodeHead, type HttpHead, httpTags, TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { HttpAnswer, HttpRequest } from "../src/http.ts"
import { MemoryAgent, type Served, settle, utf8 } from "./memory-agent.ts"

let agent: MemoryAgent
beforeEach(() => {
  agent = new MemoryAgent()
})
afterEach(() => agent.agent.close())

const head: HttpHead = {
  status: 200,
  statusText: "OK",
  headers: [
    ["Set-Cookie", "a"],
    ["set-cookie", "b"],
  ],
}

const ask = (request: Partial<HttpRequest> = {}): Promise<HttpAnswer> =>
  agent.agent.request({ target: { service: 80 }, method: "GET", path: "/", headers: [], ...request })

/** Asked, accepted, and answered with the head. */
async function answered(request?: Partial<HttpRequest>): Promise<{ readonly answer: HttpAnswer; readonly served: Served }> {
  const asked = ask(request)
  const served = await agent.next()
  served.accept({})
  served.say(httpTags.head, encodeHead(head))
  return { answer: await asked, served }
}

const textOf = (answer: HttpAnswer): Promise<string> => new Response(answer.body).text()

describe("[KH1] what is asked", () => {
  test("is sent as it is, less what belongs to one connection", async () => {
    const headers: HttpRequest["headers"] = [
      ["Host", "a"],
      ["X", "1"],
      ["Connection", "y"],
      ["Y", "2"],
      ["x", "3"],
    ]
    void ask({ method: "QUERY", path: "/?a", headers, firstByteMs: 5 }).catch(() => {})
    const { body } = await agent.next()
    const sent = [
      ["Host", "a"],
      ["X", "1"],
      ["x", "3"],
    ]
    expect(body).toEqual({ target: { service: 80 }, method: "QUERY", path: "/?a", headers: sent, firstByteMs: 5 })
  })

  test.each<[string, Partial<HttpRequest>]>([
    ["a path without a slash", { path: "a" }],
    ["a method that is none", { method: "A B" }],
    ["a line end in a header", { headers: [["a", "b\n"]] }],
    ["headers that are no list", { headers: { a: "b" } as unknown as [] }],
    ["a length and no body", { bodyBytes: 3 }],
    ["a body that is no stream", { method: "PUT", body: "text" as unknown as ReadableStream }],
  ])("with %s is bad-request, and nothing is dialled", async (_, request) => {
    await expect(ask(request)).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
    expect(agent.dials).toBe(0)
  })

  test("with a body that somebody else reads is bad-request", async () => {
    const body = new ReadableStream<Uint8Array>()
    body.getReader()
    await expect(ask({ method: "PUT", body })).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
  })
})

describe("[KH3] a body", () => {
  test("is sent, with its length, and ended, without waiting for the accept or for the end of its source", async () => {
    const source = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>()
    const asked = ask({ method: "PUT", body: new ReadableStream({ start: source.resolve }), bodyBytes: 4 })
    ;(await source.promise).enqueue(utf8("four"))
    const served = await agent.next()
    expect(served.body).toMatchObject({ bodyBytes: 4 })
    served.accept({})
    await served.until(() => served.inputEnded)
    expect(served.input).toBe("four")
    served.say(httpTags.head, encodeHead(head))
    await asked
  })

  test("takes its length from the header where nothing else says it, and has none without either", async () => {
    const body = (): ReadableStream<Uint8Array> => new ReadableStream()
    void ask({ method: "PUT", body: body(), headers: [["content-LENGTH", "12"]] }).catch(() => {})
    expect((await agent.next()).body).toMatchObject({ bodyBytes: 12 })
    void ask({ method: "PUT", body: body() }).catch(() => {})
    expect((await agent.next()).body).toMatchObject({ bodyBytes: null })
  })

  test("of something else than bytes is bad-request", async () => {
    const body = new ReadableStream({ start: (controller) => controller.enqueue("text") })
    const asked = ask({ method: "PUT", body: body as ReadableStream<Uint8Array> })
    await expect(asked).rejects.toMatchObject({ code: "bad-request", delivered: "unknown" })
  })

  test("is cancelled when the request is refused", async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const asked = ask({ method: "PUT", body: new ReadableStream({ cancel: cancelled.resolve }) })
    ;(await agent.next()).stream.reject(new TunnelError("service-refused", "nobody there"))
    await expect(asked).rejects.toMatchObject({ code: "service-refused", message: "nobody there", delivered: "no" })
    expect(await cancelled.promise).toMatchObject({ code: "service-refused" })
  })

  test("that has not ended with the answer is cancelled, and the agent is told", async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const { answer, served } = await answered({ method: "PUT", body: new ReadableStream({ cancel: cancelled.resolve }) })
    served.say(httpTags.body, "ok")
    served.stream.finish()
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toMatchObject({ code: "aborted" })
    await cancelled.promise
    expect(await textOf(answer)).toBe("ok")
  })
})

describe("[KH4] an answer", () => {
  test("has its head as soon as that is whole, in whatever pieces it comes", async () => {
    const asked = ask()
    const served = await agent.next()
    served.accept({})
    const bytes = encodeHead(head)
    for (const [at] of bytes.entries()) {
      served.say(httpTags.head, bytes.slice(at, at + 1))
      if (at % 20 === 0) await settle()
    }
    expect(await asked).toMatchObject(head)
  })

  test("has its body behind the head, and leaves no stream open", async () => {
    const { answer, served } = await answered()
    served.say(httpTags.body, "one ")
    served.say(httpTags.body, "two")
    served.stream.finish()
    expect(await textOf(answer)).toBe("one two")
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toBeUndefined()
  })

  test("is read at once where all of it is here, and as a stream until then", async () => {
    const { answer, served } = await answered()
    served.say(httpTags.body, "one ")
    await settle()
    expect(answer.readWhole?.()).toBeUndefined()
    served.say(httpTags.body, "two")
    served.stream.finish()
    await settle()
    expect(Buffer.concat(answer.readWhole?.() ?? []).toString()).toBe("one two")
    expect(answer.readWhole?.()).toBeUndefined()
    expect(await textOf(answer)).toBe("")
  })

  test("gives each piece to whoever waits for it", async () => {
    const { answer, served } = await answered()
    const reader = answer.body.getReader()
    for (const piece of ["a", "b"]) {
      const read = reader.read()
      served.say(httpTags.body, piece)
      expect(await read).toEqual({ done: false, value: utf8(piece) })
    }
    const read = reader.read()
    served.stream.finish()
    expect(await read).toEqual({ done: true, value: undefined })
  })

  test("that nobody reads any more is held up, and goes on when it is read", async () => {
    const { answer, served } = await answered()
    const reader = answer.body.getReader()
    const first = reader.read()
    served.say(httpTags.body, "first")
    await first
    let bytes = 0
    for (; served.stream.writableBytes > 0 && bytes < 16_777_216; bytes += 65_536) {
      served.say(httpTags.body, new Uint8Array(65_536))
      await settle()
    }
    expect(bytes).toBeLessThan(1_048_576)
    served.stream.finish()
    let readBytes = 0
    for (let next = await reader.read(); !next.done; next = await reader.read()) readBytes += next.value.byteLength
    expect(readBytes).toBe(bytes)
  })

  test("that is reset errors behind what had come", async () => {
    const { answer, served } = await answered()
    served.say(httpTags.body, "half")
    await settle()
    served.stream.reset(new TunnelError("service-failed", "it broke off"))
    await settle()
    const reader = answer.body.getReader()
    expect(await reader.read()).toEqual({ done: false, value: utf8("half") })
    await expect(reader.read()).rejects.toMatchObject({ code: "service-failed", message: "it broke off", delivered: "yes" })
  })

  test.each<[string, (served: Served) => void]>([
    ["a body before its head", (served) => served.say(httpTags.body, "x")],
    ["a tag that is neither", (served) => served.say(httpTags.messages, "x")],
    ["a head that is none", (served) => served.say(httpTags.head, "{}\n")],
    ["a head of status 100", (served) => served.say(httpTags.head, encodeHead({ ...head, status: 100 }))],
    ["an end before the head", (served) => served.stream.finish()],
  ])("of an agent that sends %s is refused", async (_, send) => {
    const asked = ask()
    const refused = expect(asked).rejects.toMatchObject({ code: "bad-request", delivered: "yes" })
    const served = await agent.next()
    served.accept({})
    send(served)
    await refused
    await served.until(() => served.closed !== undefined)
  })
})

describe("[KH6] a caller that leaves", () => {
  const reason = new Error("enough")

  test("before anything is sent gets aborted, delivered no", async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream<Uint8Array>({ cancel: cancelled.resolve })
    const asked = ask({ method: "PUT", body, signal: AbortSignal.abort(reason) })
    await expect(asked).rejects.toMatchObject({ code: "aborted", delivered: "no", cause: reason })
    expect(await cancelled.promise).toMatchObject({ code: "aborted" })
    expect(agent.dials).toBe(0)
  })

  test("before the answer resets the stream", async () => {
    const abort = new AbortController()
    const asked = ask({ signal: abort.signal })
    const left = expect(asked).rejects.toMatchObject({ code: "aborted", delivered: "yes", cause: reason })
    const served = await agent.next()
    served.accept({})
    await settle()
    abort.abort(reason)
    await left
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toMatchObject({ code: "aborted" })
  })

  test("in the middle of the body errors it at once, whatever has come", async () => {
    const abort = new AbortController()
    const { answer, served } = await answered({ signal: abort.signal })
    served.say(httpTags.body, "half")
    await settle()
    abort.abort(reason)
    await expect(answer.body.getReader().read()).rejects.toMatchObject({ code: "aborted", cause: reason })
    await served.until(() => served.closed !== undefined)
  })

  test("by cancelling the body resets the stream", async () => {
    const { answer, served } = await answered()
    await answer.body.cancel(reason)
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toMatchObject({ code: "aborted" })
  })

  test("after the whole answer has come leaves it readable", async () => {
    const abort = new AbortController()
    const { answer, served } = await answered({ signal: abort.signal })
    served.say(httpTags.body, "all")
    served.stream.finish()
    await settle()
    abort.abort(reason)
    expect(await textOf(answer)).toBe("all")
  })
})
