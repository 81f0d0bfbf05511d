import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { describe, expect, onTestFinished, test } from "vitest"
import { readCommandLine } from "../../src/program.ts"
import { runCli } from "./run-cli.ts"

describe("a forward that is none exits with 2 before anything listens, and says what to write", () => {
  test.each([
    [[], /nothing to forward: give a port/],
    [["http"], /"http" names no port to listen on/],
    [["5432", "x"], /"x" names no port to listen on/],
    [["5433:db"], /write 5433:db:5432/],
    [["70000"], /70000 is not a port/],
    [["::1:5432"], /IPv6 address goes in brackets/],
    [["-L", "5433:db"], /--local <forward>'.*names no port to connect to/],
    [["-R", "5433:"], /--reverse <forward>'.*is not a forward/],
    [["-D", "1080:a:80"], /--socks <address>'.*says more than where to listen/],
    [["8080:80", "8080:81"], /127\.0\.0\.1:8080 is to be listened on twice/],
    [["8080:80", "-D", "8080"], /127\.0\.0\.1:8080 is to be listened on twice/],
    [["-R", "80:80", "-R", "80:81"], /127\.0\.0\.1:80 is to be listened on twice/],
    [["5432", "--", "psql"], /takes no command/],
  ])("%j", async (argv, reason) => {
    const { exitCode, stdout, stderr } = await runCli(["forward", "box", ...argv])
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
    expect(stderr.replaceAll(/\s+/g, " ")).toMatch(reason)
    expect(stderr).toContain("trunkline forward --help")
  })

  test("without a name, and with one that is none", async () => {
    expect(await runCli(["forward"])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("missing required argument 'name'") })
    expect(await runCli(["forward", "Not_A_Name", "5432"])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("endpoint name") })
  })
})

test("a port that is taken is told before the gateway is asked", async () => {
  const server = createServer().listen(0, "127.0.0.1")
  onTestFinished(() => void server.close())
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  const nowhere = { TRUNKLINE_GATEWAY: "http://127.0.0.1:1", TRUNKLINE_SECRET: "secret" }
  const { exitCode, stdout, stderr } = await runCli(["forward", "box", `${port}:localhost:80`], nowhere)
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" })
  expect(stderr).toContain(`127.0.0.1:${port} is taken by`)
  const unreachable = await runCli(["forward", "box", "0:localhost:80"], nowhere)
  expect(unreachable).toMatchObject({ exitCode: 255, stdout: "", stderr: expect.stringContaining("127.0.0.1:1") })
})

test("flags and variables add up to lists, a flag replaces its variable, and arguments go beside them", async () => {
  const environment = { TRUNKLINE_FORWARD: "1,2:db:3", TRUNKLINE_FORWARD_REVERSE: "4", TRUNKLINE_FORWARD_SOCKS: "5,/tmp/s.sock" }
  const invocation = await readCommandLine(["forward", "box", "6", "7:8", "-R", "9", "-R", "10"], "0.0.0", environment)
  expect(invocation?.operands).toMatchObject({ name: "box", more: ["6", "7:8"] })
  expect(invocation?.values).toMatchObject({
    localForwards: [
      { listen: { host: "localhost", port: 1 }, target: { host: "localhost", port: 1 } },
      { listen: { host: "localhost", port: 2 }, target: { host: "db", port: 3 } },
    ],
    reverseForwards: [
      { listen: { port: 9 }, target: { port: 9 } },
      { listen: { port: 10 }, target: { port: 10 } },
    ],
    socksListeners: [{ host: "localhost", port: 5 }, { path: "/tmp/s.sock" }],
  })
})
