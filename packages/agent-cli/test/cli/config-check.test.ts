/** The owner's config file as `config check` reads it, and `serve` with it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, onTestFinished, test } from "vitest"
import { runCli } from "./run-cli.ts"

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "trunkline-config-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

function configFile(content: unknown): string {
  const file = join(scratch(), "serve.json")
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content))
  return file
}

const check = async (argv: readonly string[], environment: Readonly<Record<string, string>> = {}) => {
  const { exitCode, stdout, stderr } = await runCli(["config", "check", "-o", "json", ...argv], environment)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  return JSON.parse(stdout)
}

const everything = {
  allow: ["5432", "*.corp:443", "listen:0.0.0.0:8080"],
  deny: ["tcp:db.corp:443"],
  services: { "8443": "https+insecure://localhost:8443" },
  firstByteTimeout: "0",
  idleTimeout: "5m",
}

describe("what is in force", () => {
  test("without a file is the default", async () => {
    expect(await check([])).toEqual({
      file: null,
      allow: { tcp: ["loopback:*"], http: ["loopback:*"], listen: ["listen:loopback:*"] },
      deny: { tcp: [], http: [], listen: [] },
      services: {},
      firstByteMs: 30_000,
      idleMs: 60_000,
    })
  })

  test("is what the file says", async () => {
    const file = configFile(everything)
    expect(await check([file])).toEqual({
      file,
      allow: { tcp: ["5432", "*.corp:443"], http: ["5432", "*.corp:443"], listen: ["listen:0.0.0.0:8080"] },
      deny: { tcp: ["tcp:db.corp:443"], http: [], listen: [] },
      services: { 8443: "https+insecure://localhost:8443" },
      firstByteMs: 0,
      idleMs: 300_000,
    })
  })

  test("is what flags and variables add to the file", async () => {
    const flags = ["--allow", "80", "--deny", "22", "--service", "1=unix:/a", "--service", "8443=http://b", "--idle-timeout", "0"]
    const environment = { TRUNKLINE_CONFIG: configFile(everything), TRUNKLINE_FIRST_BYTE_TIMEOUT: "2s" }
    expect(await check(flags, environment)).toMatchObject({
      allow: { tcp: ["5432", "*.corp:443", "80"] },
      deny: { tcp: ["tcp:db.corp:443", "22"] },
      services: { 1: "unix:/a", 8443: "http://b" },
      firstByteMs: 2_000,
      idleMs: 0,
    })
  })

  test("is said for people", async () => {
    const { exitCode, stdout, stderr } = await runCli(["config", "check", configFile(everything)])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
    expect(stdout).toMatch(/^config file +\/.*serve\.json$/m)
    expect(stdout).toMatch(
      /^tcp to +5432, \*\.corp:443\n +but not to +tcp:db\.corp:443\nhttp to +5432, \*\.corp:443\n +and 8443 +https\+insecure/m,
    )
    expect(stdout).toMatch(/^first byte +no limit\nidle +5m$/m)
  })

  test.each([
    ["the user's own file, when none is named", (directory: string) => ({ XDG_CONFIG_HOME: directory })],
    ["the file that a variable names", (directory: string) => ({ TRUNKLINE_CONFIG: join(directory, "trunkline", "serve.json") })],
  ])("comes from %s", async (_which, environment) => {
    const directory = scratch()
    mkdirSync(join(directory, "trunkline"))
    writeFileSync(join(directory, "trunkline", "serve.json"), '\uFEFF{"allow":["tcp:1"]}')
    expect(await check([], environment(directory))).toMatchObject({
      file: join(directory, "trunkline", "serve.json"),
      allow: { tcp: ["tcp:1"], http: ["loopback:*"] },
    })
  })
})

describe("a file that is not in order exits with 2, for serve too", () => {
  test.each([[["config", "check"]], [["serve", "--name", "a"]]])("%j names every problem and its place", async (argv) => {
    const file = configFile({
      alow: [],
      allow: ["5432", "db.internal", 80],
      deny: "22",
      services: { http: "http://a", "80": "ftp://a" },
      firstByteTimeout: "30",
      idleTimeout: 0,
      keep: true,
    })
    const { exitCode, stdout, stderr } = await runCli(argv, { TRUNKLINE_CONFIG: file, TRUNKLINE_SECRET: "s" })
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
    const places = stderr.split("\n").flatMap((line) => /serve\.json: ([^:]+): ./.exec(line)?.[1] ?? [])
    expect(places.sort()).toEqual(
      ["allow[1]", "allow[2]", "alow", "deny", "firstByteTimeout", "idleTimeout", "keep", "services.80", "services.http"].sort(),
    )
    expect(stderr).toMatch(/alow: there is no such field; there are allow, deny, services/)
    expect(stderr).toMatch(/allow\[1\]: "db\.internal" is not a rule: it names no port: write db\.internal:5432/)
  })

  test.each([
    ['{"allow": ["80",]}', /serve\.json is not JSON/],
    ["", /serve\.json is not JSON/],
    ["[]", /serve\.json: the file holds no object/],
    ["null", /serve\.json: the file holds no object/],
  ])("%j", async (content, message) => {
    const { exitCode, stdout, stderr } = await runCli(["config", "check", configFile(content)])
    expect(stderr).toMatch(message)
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
  })

  test("one that is named has to be there", async () => {
    const { exitCode, stderr } = await runCli(["serve", "--name", "a", "--config", join(scratch(), "none.json")], { TRUNKLINE_SECRET: "s" })
    expect(stderr).toMatch(/the config file cannot be read: ENOENT.*none\.json/)
    expect(exitCode).toBe(2)
  })
})

test.each([
  [["config"], /missing required argument/],
  [["config", "chek"], /Allowed choices are check/],
  [["config", "check", "a", "b"], /"b" is one argument too many/],
  [["serve", "--allow", "db.internal"], /--allow.*"db\.internal" is not a rule: it names no port/],
  [["serve", "--deny", ""], /--deny.*is not a rule/],
  [["serve", "--service", "8443"], /--service.*write PORT=URL/],
  [["serve", "--service", "0=http://a"], /--service.*"0" is not a port/],
  [["serve", "--service", "1=localhost:80"], /--service.*is not the URL of a service/],
  [["serve", "--first-byte-timeout", "30"], /"30" is not a duration/],
])("%j is refused", async (argv, message) => {
  const { exitCode, stdout, stderr } = await runCli(argv)
  expect(stderr).toMatch(message)
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
})

test("a bad rule in a variable is refused with the variable's name", async () => {
  const { exitCode, stderr } = await runCli(["config", "check"], { TRUNKLINE_ALLOW: "80,db" })
  expect(stderr).toMatch(/^trunkline: TRUNKLINE_ALLOW: "db" is not a rule/)
  expect(exitCode).toBe(2)
})
