/** The HTTP calls of the SDK against servers that are gateways, and such as are not. */
import { afterEach, describe, expect, test } from "vitest"
import { connect } from "../src/connect.ts"
import { type LoopbackAnswers, LoopbackGateway } from "./loopback-gateway.ts"

let gateway: LoopbackGateway | undefined
afterEach(async () => {
  await gateway?.stop()
})

async function sdk(answer: LoopbackAnswers["request"], path = "") {
  gateway = await LoopbackGateway.start(answer === undefined ? {} : { request: answer })
  return connect({ url: new URL(path, gateway.url), token: "secret" })
}

describe("connect", () => {
  test.each(["", "not a url", "ws://gateway.test", "http://user:pass@gateway.test", "http://gateway.test/?secret=1"])(
    "refuses the URL %j",
    (url) => {
      expect(() => connect({ url, token: "secret" })).toThrow(expect.objectContaining({ code: "bad-request" }))
    },
  )

  test.each(["", "secret\n", "se cret", "sécret"])("refuses the token %j, and does not repeat it", (token) => {
    const refused = () => connect({ url: "http://gateway.test", token })
    expect(refused).toThrow(expect.objectContaining({ code: "unauthorised" }))
    if (token !== "") expect(refused).not.toThrow(token)
  })

  test("gives one handle a name, and none for what is no name", () => {
    const sdk = connect({ url: "http://gateway.test", token: "secret" })
    expect(sdk.agent("box")).toBe(sdk.agent("box"))
    expect(() => sdk.agent("No Name")).toThrow(expect.objectContaining({ code: "bad-name" }))
  })
})

describe("a call", () => {
  test("goes to the gateway below its path, with the token in a header", async () => {
    const { endpoints } = await sdk((_, response) => void response.end('{"endpoints":[],"cursor":null}'), "below")
    await endpoints.list({ labels: { role: "ci" }, status: "online", limit: 5 })
    const [request] = gateway?.requests ?? []
    expect(request?.url).toBe("/below/v1/endpoints?label=role%3Dci&status=online&limit=5")
    expect(request?.headers.authorization).toBe("Bearer secret")
  })

  test.each([
    ["HTML", 200, "<html>", "protocol-error", false],
    ["an empty body", 200, "", "protocol-error", false],
    ["JSON that is none of a gateway's", 200, '{"hello":"world"}', "protocol-error", false],
    ["null", 200, "null", "protocol-error", false],
    ["the gateway's error", 401, '{"error":{"code":"unauthorised","message":"no","retryable":false}}', "unauthorised", false],
    ["a proxy's page while the gateway is away", 502, "<html>", "gateway-unreachable", true],
    ["a proxy's page for another reason", 403, "<html>", "protocol-error", false],
    ["an error code from the future", 400, '{"error":{"code":"new","message":"no"}}', "protocol-error", false],
  ])("rejects %s with a typed error", async (_, status, body, code, retryable) => {
    const { endpoints } = await sdk((__, response) => void response.writeHead(status).end(body))
    await expect(endpoints.list()).rejects.toMatchObject({ name: "TunnelError", code, retryable })
    await expect(endpoints.get("box")).rejects.toMatchObject({ name: "TunnelError", code, retryable })
  })

  test("rejects with gateway-unreachable when the answer breaks off", async () => {
    const { endpoints } = await sdk((_, response) => {
      response.writeHead(200, { "content-length": 100 })
      response.write('{"endpoints"')
      setImmediate(() => response.destroy())
    })
    await expect(endpoints.list()).rejects.toMatchObject({ name: "TunnelError", code: "gateway-unreachable" })
  })

  test.each(["before", "while the gateway is silent", "while the answer comes"])("ends with aborted at an abort %s", async (when) => {
    const abort = new AbortController()
    if (when === "before") abort.abort()
    const { endpoints } = await sdk((_, response) => {
      if (when === "while the answer comes") response.write("{")
      setImmediate(() => abort.abort())
    })
    await expect(endpoints.list({ signal: abort.signal })).rejects.toMatchObject({ code: "aborted", delivered: "no" })
  })

  test("follows the listing's pages to the last", async () => {
    const { endpoints } = await sdk((request, response) => {
      const second = request.url?.includes("cursor=b") === true
      response.end(JSON.stringify({ endpoints: [{ name: second ? "b" : "a" }], cursor: second ? null : "b" }))
    })
    const names: string[] = []
    for await (const { name } of endpoints.all()) names.push(name)
    expect(names).toEqual(["a", "b"])
  })
})
