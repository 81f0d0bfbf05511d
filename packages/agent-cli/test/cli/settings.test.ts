import { describe, expect, onTestFinished, test, vi } from "vitest"
import { commands } from "../../src/command-table/commands.ts"
import { parseDuration } from "../../src/duration.ts"
import { readCommandLine } from "../../src/program.ts"
import { readEnvironment } from "../../src/settings/setting.ts"
import { type Field, settingOf, settings } from "../../src/settings/settings.ts"
import { UsageError } from "../../src/usage-error.ts"

const fields = Object.keys(settings) as Field[]

const valuesOf = async (argv: readonly string[], environment: Record<string, string> = {}) =>
  (await readCommandLine(argv, "0.0.0", environment))?.values

describe("the table", () => {
  test("every setting belongs to a command, and no command has two with one flag or one variable", () => {
    const used = new Set(commands.flatMap((command) => command.settings))
    expect([...used].sort()).toEqual([...fields].sort())
    for (const { name, settings: own } of commands) {
      const flags = own.flatMap((field) =>
        settingOf(field)
          .flag.split(/[ ,]+/)
          .filter((part) => part.startsWith("-")),
      )
      const variables = own.map((field) => settingOf(field).env)
      expect(new Set(flags).size, `${name}: ${flags.join(" ")}`).toBe(flags.length)
      expect(new Set(variables).size, `${name}: ${variables.join(" ")}`).toBe(variables.length)
    }
  })

  test("the variables that hold secrets are not settings: no flag can carry one", () => {
    const variables = fields.map((field) => settingOf(field).env)
    expect(variables).not.toContain("TRUNKLINE_SECRET")
    expect(variables).not.toContain("TRUNKLINE_TOKEN")
    for (const variable of variables) expect(variable).toMatch(/^TRUNKLINE_[A-Z_]+$/)
  })

  test("every command has examples that are command lines of its own", async () => {
    for (const { name, examples, settings: own } of commands) {
      expect(examples.length, name).toBeGreaterThanOrEqual(2)
      for (const [line] of examples) {
        const argv = /trunkline ([^>|]*)/.exec(line)?.[1]?.replaceAll(/['")]/g, "").trim().split(/ +/) ?? []
        const invocation = await readCommandLine(argv, "0.0.0", {})
        expect(invocation?.spec.name, line).toBe(name)
        expect(Object.keys(invocation?.values ?? {}).sort(), line).toEqual([...own].sort())
      }
    }
  })
})

describe("values", () => {
  test("the flag wins over the variable, and that over the default", async () => {
    expect(await valuesOf(["gateway"])).toMatchObject({ port: 8787, host: "127.0.0.1", output: "text" })
    expect(await valuesOf(["gateway"], { TRUNKLINE_PORT: "9000" })).toMatchObject({ port: 9000 })
    expect(await valuesOf(["gateway", "--port", "0"], { TRUNKLINE_PORT: "9000" })).toMatchObject({ port: 0 })
  })

  test("a repeated flag adds up, and replaces what the variable says", async () => {
    expect(await valuesOf(["serve"], { TRUNKLINE_LABELS: "os=linux,role=ci" })).toMatchObject({ labels: { os: "linux", role: "ci" } })
    expect(await valuesOf(["serve", "--label", "a=1", "--label", "b=x=y"], { TRUNKLINE_LABELS: "os=linux" })).toMatchObject({
      labels: { a: "1", b: "x=y" },
    })
    expect((await valuesOf(["serve", "--label", "a=1"]))?.labels).toEqual({ a: "1" })
    expect((await valuesOf(["serve"]))?.labels).toEqual({})
  })

  test("a switch can be set and unset by its variable", async () => {
    const argv = ["exec", "a", "--", "true"]
    expect(await valuesOf(argv)).toMatchObject({ interactive: false })
    expect(await valuesOf(argv, { TRUNKLINE_INTERACTIVE: "1" })).toMatchObject({ interactive: true })
    expect(await valuesOf(argv, { TRUNKLINE_INTERACTIVE: "0" })).toMatchObject({ interactive: false })
    expect(await valuesOf(["exec", "a", "-it", "--", "true"])).toMatchObject({ interactive: true, tty: true })
  })

  test("an empty variable counts as unset", async () => {
    expect(await valuesOf(["gateway"], { TRUNKLINE_PORT: "" })).toMatchObject({ port: 8787 })
  })

  test("a credential file that is typed wins over the other kind in the environment", async () => {
    const environment = { TRUNKLINE_SECRET_FILE: "/secret" }
    expect(await valuesOf(["ls", "--token-file", "/token"], environment)).toMatchObject({ tokenFile: "/token", secretFile: undefined })
    expect(await valuesOf(["ls"], environment)).toMatchObject({ tokenFile: undefined, secretFile: "/secret" })
  })

  test("-e passes a named local variable on, and several come one a line in the environment", async () => {
    vi.stubEnv("TRUNKLINE_TEST_LOCAL", "here")
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(await valuesOf(["exec", "a", "-e", "TRUNKLINE_TEST_LOCAL", "-e", "K=a,b=c", "--", "true"])).toMatchObject({
      env: { TRUNKLINE_TEST_LOCAL: "here", K: "a,b=c" },
    })
    expect(readEnvironment(settingOf("env"), { TRUNKLINE_ENV: "A=1,2\nB=3" })).toEqual({ A: "1,2", B: "3" })
  })

  test("a bad variable is named in the refusal", () => {
    expect(() => readEnvironment(settingOf("timeout"), { TRUNKLINE_TIMEOUT: "30" })).toThrow(/^TRUNKLINE_TIMEOUT: "30" is not a duration/)
    expect(() => readEnvironment(settingOf("tty"), { TRUNKLINE_TTY: "maybe" })).toThrow(UsageError)
  })

  test("what follows -- is the remote command's, options and further -- included", async () => {
    const invocation = await readCommandLine(["exec", "a", "-w", "/srv", "--", "grep", "-i", "--", "--help"], "0.0.0", {})
    expect(invocation?.operands).toEqual({ name: "a", processId: "", more: [], command: ["grep", "-i", "--", "--help"] })
    expect(invocation?.values).toMatchObject({ workdir: "/srv", interactive: false })
  })
})

test("commands about a process take its id after the agent's name", async () => {
  const invocation = await readCommandLine(["kill", "a", "5f1c0a9be2d4", "-s", "INT"], "0.0.0", {})
  expect(invocation).toMatchObject({ operands: { name: "a", processId: "5f1c0a9be2d4" }, values: { signal: "SIGINT" } })
})

describe("signals", () => {
  test.each([
    ["KILL", "SIGKILL"],
    ["SIGKILL", "SIGKILL"],
    ["kill", "SIGKILL"],
    ["sigusr1", "SIGUSR1"],
    ["9", "SIGKILL"],
    ["15", "SIGTERM"],
  ])("%s is %s", async (text, signal) => {
    expect(await valuesOf(["kill", "a", "b", "-s", text])).toEqual(expect.objectContaining({ signal }))
  })

  test("TERM is what is sent when nothing is said", async () => {
    expect(await valuesOf(["kill", "a", "b"])).toMatchObject({ signal: "SIGTERM" })
  })

  // 10 is one signal on Linux and another on macOS.
  test.each(["", "SIG", "SIGSIGKILL", "0", "10", "-9", "64", "SIGSEGV", "toString"])('"%s" is refused with the names there are', (text) => {
    expect(() => settingOf("signal").read(text, undefined)).toThrow(/HUP, INT, QUIT, KILL, .*1, 2, 3, 9, 15/)
  })
})

describe("where output begins", () => {
  test.each([
    ["screen", "screen"],
    ["live", "live"],
    ["0", 0],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ])("%s", (text, from) => {
    expect(settingOf("from").read(text, undefined)).toBe(from)
  })

  test.each(["", "-1", "1.5", "1e3", "0x10", "9007199254740992", "Screen", "end"])('"%s" is refused', (text) => {
    expect(() => settingOf("from").read(text, undefined)).toThrow(UsageError)
  })
})

describe("sizes", () => {
  test.each([
    ["262144", 262_144],
    ["256KiB", 262_144],
    ["1MiB", 1_048_576],
    ["64MiB", 67_108_864],
  ])("%s is %i bytes", (text, bytes) => {
    expect(settingOf("journalBytes").read(text, undefined)).toBe(bytes)
  })

  test.each(["", "262143", "255KiB", "65MiB", "67108865", "1MB", "1.5MiB", "MiB", "-1"])('"%s" is refused with the bounds', (text) => {
    expect(() => settingOf("journalBytes").read(text, undefined)).toThrow(/256KiB to 64MiB/)
  })
})

describe("durations", () => {
  test.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["1.5s", 1_500],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["24d", 2_073_600_000],
  ])("%s is %i ms", (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs)
  })

  test.each(["30", "", "s", "-5s", "5 s", "1e3s", "5y", "0s", "25d", "99999999999999h"])('"%s" is refused', (text) => {
    expect(() => parseDuration(text)).toThrow(UsageError)
  })
})
