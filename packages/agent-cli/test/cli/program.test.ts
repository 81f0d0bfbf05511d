import { once } from "node:events"
import { closeSync, existsSync, openSync, readFileSync } from "node:fs"
import { createServer, type RequestListener } from "node:http"
import { describe, expect, onTestFinished, test } from "vitest"
import { commands } from "../../src/command-table/commands.ts"
import { settingOf } from "../../src/settings/settings.ts"
import { runCli } from "./run-cli.ts"

/** Nothing listens there: it was bound and closed. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (address === null || typeof address === "string") throw new Error("no port")
  return address.port
}

/** An HTTP server that answers in a gateway's place. */
async function scriptedGateway(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1")
  onTestFinished(() => void server.close())
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("no port")
  return `http://127.0.0.1:${address.port}`
}

describe("help and version", () => {
  test("version prints the package's version, alone on stdout", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
    expect(await runCli(["version"])).toEqual({ exitCode: 0, stdout: `trunkline ${version}\n`, stderr: "" })
    expect((await runCli(["--version"])).stdout).toBe(`${version}\n`)
    expect(JSON.parse((await runCli(["version", "-o", "json"])).stdout)).toMatchObject({ version })
  })

  test.each(commands.map((command) => [command.name, command] as const))(
    "%s --help shows examples and the variable of every flag",
    async (name, command) => {
      const { exitCode, stdout, stderr } = await runCli([name, "--help"])
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
      expect(stdout).toContain("Examples:\n  ")
      const unwrapped = stdout.replaceAll(/\s+/g, " ")
      for (const field of command.settings) expect(unwrapped).toContain(`env: ${settingOf(field).env})`)
    },
  )

  test.skipIf(!existsSync("/dev/full"))("a version that cannot be written is a failure", async () => {
    const full = openSync("/dev/full", "w")
    onTestFinished(() => closeSync(full))
    expect(await runCli(["version"], {}, full)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("ENOSPC") })
  })

  test("without a command the help goes to stderr and the exit code is 2", async () => {
    const { exitCode, stdout, stderr } = await runCli([])
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
    expect(stderr).toContain("Usage: trunkline")
  })
})

describe("a command line that is none exits with 2, says why, and prints nothing on stdout", () => {
  test.each([
    [["fly"], /unknown command 'fly'/],
    [["ls", "--colour"], /unknown option '--colour'/],
    [["ls", "extra"], /"extra" is one argument too many/],
    [["ls", "--", "extra"], /takes no command/],
    [["ls", "--status", "asleep"], /not one of online, stale, draining, offline/],
    [["info"], /missing required argument 'name'/],
    [["exec", "a", "uname"], /put it after --, as in trunkline exec a -- uname/],
    [["exec", "a", "uname", "-a"], /the remote command goes after --/],
    [["exec", "a", "--timeout", "30", "--", "true"], /"30" is not a duration/],
    [["exec", "a", "-e", "=x", "--", "true"], /names no variable/],
    [["exec", "a", "-d", "-i", "--", "true"], /-d and -i contradict/],
    [["exec", "a", "-it", "--", "true"], /stdin is not a terminal/],
    [["shell", "a"], /stdin is not a terminal.*trunkline exec a/],
    [["exec", "Bad_Name", "--", "true"], /"Bad_Name" is not an endpoint name/],
    [["serve", "--name", "-x"], /is not an endpoint name/],
    [["serve", "--name", "a", "--label", "A B=c"], /--label: A B: not a label/],
    [["serve", "--name", "a", "--label", `a=${"x".repeat(64)}`], /--label: a: .*63/],
    [["gateway", "--port", "65536"], /"65536" is not a port/],
    [["ls", "--gateway", "http://user:pass@host"], /holds no credentials/],
    [["completion", "tcsh"], /bash, zsh, fish/],
    [["attach", "a"], /missing required argument 'id'/],
    [["ps", "a", "p1"], /"p1" is one argument too many/],
    [["kill", "a", "p1", "-s", "SEGV"], /"SEGV" is not a signal .*HUP, INT/],
    [["attach", "a", "p1", "--from", "-1"], /"-1" is neither a byte offset/],
    [["attach", "a", "p1", "-i", "--read-only"], /-i and --read-only contradict/],
    [["attach", "a", "p1", "--", "ls"], /attach takes no command/],
    [["serve", "--name", "a", "--journal-bytes", "1KiB"], /256KiB to 64MiB/],
  ])("%j", async (argv, message) => {
    const { exitCode, stdout, stderr } = await runCli(argv)
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/^trunkline: /)
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
  })

  test("a bad variable is named", async () => {
    const { exitCode, stderr } = await runCli(["gateway"], { TRUNKLINE_PORT: "many" })
    expect(exitCode).toBe(2)
    expect(stderr).toMatch(/^trunkline: TRUNKLINE_PORT: "many" is not a port/)
  })
})

describe("what the gateway's side can do wrong exits with 255", () => {
  test.each([[["ls"]], [["info", "a"]], [["exec", "a", "--", "true"]], [["serve", "--name", "a"]]])(
    "%j without credentials says where they could come from",
    async (argv) => {
      const { exitCode, stdout, stderr } = await runCli(argv)
      expect(stderr).toMatch(/^trunkline: no credentials for .*--secret-file FILE/)
      expect({ exitCode, stdout }).toEqual({ exitCode: 255, stdout: "" })
    },
  )

  test.each([[["ls"]], [["info", "a"]], [["exec", "a", "--", "true"]], [["ps", "a"]], [["attach", "a", "p1"]], [["kill", "a", "p1"]]])(
    "%j at a port where nothing listens",
    async (argv) => {
      const url = `http://127.0.0.1:${await closedPort()}`
      const { exitCode, stdout, stderr } = await runCli(argv, { TRUNKLINE_SECRET: "s3cret-value", TRUNKLINE_GATEWAY: url })
      expect(stderr).toMatch(/^trunkline: cannot reach the gateway at http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/)
      expect(stderr).not.toContain("s3cret-value")
      expect({ exitCode, stdout, lines: stderr.trimEnd().split("\n").length }).toEqual({ exitCode: 255, stdout: "", lines: 2 })
    },
  )

  test("something else answers there", async () => {
    const url = await scriptedGateway((_request, response) => response.writeHead(502).end("<html>"))
    const { exitCode, stderr } = await runCli(["ls"], { TRUNKLINE_SECRET: "s", TRUNKLINE_GATEWAY: url })
    expect(exitCode).toBe(255)
    expect(stderr).toMatch(/something in front of it answers HTTP 502/)
  })

  test("the trace is shown when TRUNKLINE_DEBUG asks for it, and never otherwise", async () => {
    const environment = { TRUNKLINE_SECRET: "s", TRUNKLINE_GATEWAY: `http://127.0.0.1:${await closedPort()}` }
    expect((await runCli(["ls"], environment)).stderr).not.toMatch(/\n\s+at /)
    expect((await runCli(["ls"], { ...environment, TRUNKLINE_DEBUG: "1" })).stderr).toMatch(/\n\s+at /)
  })
})

describe("info", () => {
  const offline = {
    ...{ name: "build-7", status: "offline", mode: "socket", since: 0, lastSeen: 0, version: "1.0.0", labels: {}, rttMs: null },
    clients: 1,
  }
  test("of an agent that is offline tells of no round trip and no clients", async () => {
    const url = await scriptedGateway((_request, response) => response.end(JSON.stringify(offline)))
    const { exitCode, stdout } = await runCli(["info", "build-7"], { TRUNKLINE_SECRET: "s", TRUNKLINE_GATEWAY: url })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^name +build-7$/m)
    expect(stdout).not.toMatch(/round trip|clients/)
  })

  test("of one that is known by its heartbeats, and does not answer, tells so", async () => {
    const beating = { ...offline, status: "stale", mode: "tunnel-url" }
    const url = await scriptedGateway((_request, response) => response.end(JSON.stringify(beating)))
    const { exitCode, stdout } = await runCli(["info", "build-7"], { TRUNKLINE_SECRET: "s", TRUNKLINE_GATEWAY: url })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^mode +tunnel-url$[\s\S]*^link round trip +no answer$/m)
  })
})

describe("ls", () => {
  const row = {
    name: "build-7",
    status: "online",
    mode: "socket",
    since: Date.now(),
    lastSeen: Date.now(),
    version: "1.0.0",
    labels: { role: "ci" },
    rttMs: null,
  }

  test("collects all pages into one document and sends its filters", async () => {
    const asked: URL[] = []
    const url = await scriptedGateway((request, response) => {
      const page = new URL(request.url ?? "", "http://gateway")
      asked.push(page)
      const last = page.searchParams.has("cursor")
      response.end(JSON.stringify({ endpoints: [{ ...row, name: last ? "b" : "a" }], cursor: last ? null : "next" }))
    })
    const { exitCode, stdout } = await runCli(["ls", "-o", "json", "--label", "role=ci", "--status", "online"], {
      TRUNKLINE_SECRET: "s",
      TRUNKLINE_GATEWAY: url,
    })
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      endpoints: [
        { ...row, name: "a" },
        { ...row, name: "b" },
      ],
    })
    expect(asked.map(({ searchParams }) => [searchParams.getAll("label"), searchParams.get("status"), searchParams.get("cursor")])).toEqual(
      [
        [["role=ci"], "online", null],
        [["role=ci"], "online", "next"],
      ],
    )
  })

  test("shows a plain table when stdout is no terminal", async () => {
    const url = await scriptedGateway((_request, response) => response.end(JSON.stringify({ endpoints: [row], cursor: null })))
    const { stdout } = await runCli(["ls"], { TRUNKLINE_SECRET: "s", TRUNKLINE_GATEWAY: url })
    expect(stdout).toMatch(/^NAME +STATUS +MODE +SINCE +VERSION +LABELS\nbuild-7 +online +socket +\w+(?: ago)? +1\.0\.0 +role=ci\n$/)
  })

  test("says on stderr what to do when there is nothing to show, and succeeds", async () => {
    const url = await scriptedGateway((_request, response) => response.end(JSON.stringify({ endpoints: [], cursor: null })))
    const environment = { TRUNKLINE_SECRET: "s", TRUNKLINE_GATEWAY: url }
    const empty = await runCli(["ls"], environment)
    expect(empty).toMatchObject({ exitCode: 0, stdout: "" })
    expect(empty.stderr).toContain(`trunkline serve --name NAME --gateway ${url}`)
    expect(await runCli(["ls", "-o", "json"], environment)).toEqual({ exitCode: 0, stdout: '{"endpoints":[]}\n', stderr: "" })
  })
})
