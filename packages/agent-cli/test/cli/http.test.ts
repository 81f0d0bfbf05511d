/** `trunkline http` as a process, with a gateway of the test's and real services. */
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { LinkGateway } from "./link-gateway.ts"
import { runCli } from "./run-cli.ts"

let gateway: LinkGateway
let server: Server
let port: number
beforeEach(async () => {
  gateway = await LinkGateway.start()
  server = createServer((_, response) => response.writeHead(404).end()).listen(0, "127.0.0.1")
  await once(server, "listening")
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  server.close()
  await gateway.stop()
})

const browser = { url: "http://3000--box.localhost:8787/", enterUrl: "http://3000--box.localhost:8787/enter#t.t" }

test("shows the URL for programs with a line for curl that works, and those for browsers", async () => {
  gateway.ticket = { ...gateway.ticket, ...browser }
  const secret = join(gateway.home, "my secret")
  writeFileSync(secret, "s3cret\n", { mode: 0o600 })
  const { TRUNKLINE_SECRET: _, ...environment } = gateway.environment
  const { exitCode, stdout, stderr } = await runCli(["http", "box", String(port), "--secret-file", secret], environment)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  const url = `${gateway.url}v1/agents/box/http/${port}/`
  expect(stdout.split("\n")[0]).toBe(url)
  expect(stdout).toContain(browser.url)
  expect(stdout).toContain(browser.enterUrl)
  expect(stdout).not.toContain("s3cret")
  expect(gateway.asked).toEqual([`POST /v1/tickets ${JSON.stringify({ agent: "box", http: port })}`])
  const line = stdout.split("\n").find((each) => each.includes("curl")) ?? ""
  const stand = "curl() { cat; printf '%s\\n' \"$@\"; }; "
  expect(execFileSync("sh", ["-c", stand + line], { encoding: "utf8" })).toBe(`header = "Authorization: Bearer s3cret"\n-K\n-\n${url}\n`)
})

test("takes the secret from the variable it came from, and says where a browser has no way in", async () => {
  const { exitCode, stdout } = await runCli(["http", "box", String(port)], gateway.environment)
  expect(exitCode).toBe(0)
  expect(stdout).toContain('"$TRUNKLINE_SECRET" | curl')
  expect(stdout).toContain("no domain for services")
})

test("says where the secret belongs that is kept with those of other gateways", async () => {
  mkdirSync(join(gateway.home, "trunkline"))
  const kept = { gateways: { [new URL(gateway.url).origin]: { secret: "s3cret" } } }
  writeFileSync(join(gateway.home, "trunkline", "credentials.json"), JSON.stringify(kept), { mode: 0o600 })
  const { TRUNKLINE_SECRET: _, ...environment } = gateway.environment
  const { exitCode, stdout } = await runCli(["http", "box", String(port)], environment)
  expect(exitCode).toBe(0)
  expect(stdout).toContain("the secret in a file of yours, here gateway.secret")
  expect(stdout).not.toContain("s3cret")
})

test("-o json is one document", async () => {
  gateway.ticket = { ...gateway.ticket, ...browser }
  const { stdout } = await runCli(["http", "box", String(port), "-o", "json"], gateway.environment)
  expect(JSON.parse(stdout)).toEqual({
    name: "box",
    port,
    url: `${gateway.url}v1/agents/box/http/${port}/`,
    browserUrl: browser.url,
    enterUrl: browser.enterUrl,
    expiresAt: 1,
  })
})

test("warns of a service that does not answer, and shows the URLs all the same", async () => {
  server.close()
  const refused = await runCli(["http", "box", String(port)], gateway.environment)
  expect(refused).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(/^trunkline: warning: .*refuses connections.*\n$/) })
  expect(refused.stdout).toContain(`/http/${port}/`)
  gateway.settings = { ...gateway.settings, deny: [`http:loopback:${port}`] }
  expect(await runCli(["http", "box", String(port)], gateway.environment)).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("warning"),
  })
})

test.each([
  [["http", "box", "0"], 2, /not a port/],
  [["http", "box", "http"], 2, /not a port/],
  [["http", "Bad_Name", "80"], 2, /not an endpoint name/],
  [["http", "other", "80"], 255, /no such agent/],
])("%j is refused", async (argv, exitCode, why) => {
  expect(await runCli(argv, gateway.environment)).toEqual({ exitCode, stdout: "", stderr: expect.stringMatching(why) })
})
