/** What `trunkline ssh-config` writes, as the real ssh reads it, and what it leaves alone. */
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { sshBlock, withBlock, withoutBlock } from "../../src/ssh/config-block.ts"
import { UsageError } from "../../src/usage-error.ts"
import { type CliResult, runCli } from "./run-cli.ts"

let home: string
let file: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "ssh config %d "))
  file = join(home, ".ssh", "config")
})
afterEach(() => rmSync(home, { recursive: true }))

const run = (...argv: string[]): Promise<CliResult> =>
  runCli(["ssh-config", "build-7", ...argv], { HOME: home, TRUNKLINE_SECRET: "s3cret", TRUNKLINE_GATEWAY: "https://gateway.example.com/" })

function write(content: string | Uint8Array, mode = 0o600): void {
  mkdirSync(join(home, ".ssh"), { recursive: true })
  writeFileSync(file, content)
  chmodSync(file, mode)
}

const ssh = (...argv: string[]): string =>
  execFileSync("ssh", ["-F", file, ...argv], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })

/** What ssh makes of the file for a host. */
function readBySsh(host: string): Record<string, string> {
  const lines = ssh("-G", host).trim().split("\n")
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]))
}

describe("ssh-config", () => {
  test("prints a block and touches nothing", async () => {
    const { exitCode, stdout, stderr } = await run("--user", "me", "--port", "2222")
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^# >>> trunkline build-7 >>>\n[\s\S]*\nHost \*\n# <<< trunkline build-7 <<<\n$/)
    expect(stdout).not.toContain("s3cret")
    expect(stderr).toContain("TRUNKLINE_SECRET")
    expect(existsSync(join(home, ".ssh"))).toBe(false)
  })

  test("--write makes a file that is the user's alone, and ssh finds its way by it", async () => {
    writeFileSync(join(home, "secret"), "s3cret\n", { mode: 0o600 })
    const written = await runCli(["ssh-config", "build-7", "--write", "--secret-file", join(home, "secret")], {
      HOME: home,
      TRUNKLINE_GATEWAY: "https://gateway.example.com/",
    })
    expect([written.exitCode, written.stdout]).toEqual([0, ""])
    expect(written.stderr).toMatch(/^trunkline: build-7 is in .*: try ssh build-7\n$/)
    expect([statSync(file).mode & 0o777, statSync(join(home, ".ssh")).mode & 0o777]).toEqual([0o600, 0o700])
    for (const host of ["build-7", "trunkline-build-7"]) {
      const { proxycommand, hostkeyalias, port } = readBySsh(host)
      expect(proxycommand).toMatch(
        / connect --gateway https:\/\/gateway\.example\.com\/ --secret-file '.*ssh config %%d .*\/secret' build-7 %p$/,
      )
      expect([hostkeyalias, port]).toEqual(["trunkline-build-7", "22"])
    }
    expect(readBySsh("elsewhere").proxycommand).toBeUndefined()
    expect(readFileSync(file, "utf8")).not.toContain("s3cret")
  })

  test("goes before what would win over it, and leaves the meaning of the rest", async () => {
    write("User everyone\nPort 99\nHost elsewhere\n  User there\nHost *\n  ProxyCommand none\n  HostKeyAlias other\n")
    const before = readBySsh("elsewhere")
    await run("--write", "--user", "deploy", "--port", "2222")
    expect(readBySsh("build-7")).toMatchObject({ user: "deploy", port: "2222", hostkeyalias: "trunkline-build-7" })
    expect(readBySsh("build-7").proxycommand).toContain("connect")
    expect(readBySsh("elsewhere")).toEqual(before)
    // The port typed wins, and the agent is asked for that one.
    expect(ssh("-p", "2200", "-G", "build-7")).toMatch(/^port 2200$/m)
  })

  test.each([
    ["plain lines", "Host a\n  User b\n"],
    ["no line end at its end", "Host a\n  User b"],
    ["other line ends", "Host a\r\n  User b\r\n"],
    ["bytes that are no text", Uint8Array.of(35, 0xff, 0xfe, 10, 72, 111, 115, 116, 32, 97, 10)],
    ["nothing", ""],
  ])("--remove gives back a file of %s to the byte, and its mode", async (_, content) => {
    write(content, 0o644)
    await run("--write")
    expect(readFileSync(file, "utf8")).toContain("build-7")
    const removed = await run("--remove")
    expect(removed).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("no longer in") })
    expect(readFileSync(file)).toEqual(Buffer.from(content))
    expect(statSync(file).mode & 0o777).toBe(0o644)
  })

  test("writes once, however often it is asked, and replaces what it wrote where that is", async () => {
    write("# mine\n")
    await run("--write")
    const once = readFileSync(file, "utf8")
    expect(await run("--write")).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("already") })
    expect(readFileSync(file, "utf8")).toBe(once)
    write(`# above\n${once}`)
    await run("--write", "--port", "2222")
    expect(readFileSync(file, "utf8")).toBe(`# above\n${once.replace("Port 22\n", "Port 2222\n")}`)
    await run("--write", "--host-alias", "other")
    expect(readBySsh("other").proxycommand).toMatch(/ build-7 %p$/)
    await run("--remove")
    expect(readBySsh("other").proxycommand).toMatch(/ build-7 %p$/)
    expect(readBySsh("build-7").proxycommand).toBeUndefined()
    expect(await run("--remove")).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("nothing of ours") })
  })

  test("follows a link, and leaves it one", async () => {
    mkdirSync(join(home, ".ssh"))
    mkdirSync(join(home, "dotfiles"))
    writeFileSync(join(home, "dotfiles", "ssh"), "# mine\n")
    symlinkSync(join(home, "dotfiles", "ssh"), file)
    await run("--write")
    expect(lstatSync(file).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(home, "dotfiles", "ssh"), "utf8")).toMatch(/build-7[\s\S]*# mine\n$/)
  })

  test("touches nothing where a block of its own has no end, or the file cannot be read", async () => {
    write("# >>> trunkline build-7 >>>\nHost build-7\n")
    for (const flag of ["--write", "--remove"])
      expect(await run(flag)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("mend it by hand") })
    expect(readFileSync(file, "utf8")).toBe("# >>> trunkline build-7 >>>\nHost build-7\n")
    rmSync(file)
    mkdirSync(file)
    expect(await run("--write")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("cannot be changed") })
  })

  test("warns of a credential that ssh will not find", async () => {
    const { exitCode, stderr } = await runCli(["ssh-config", "build-7", "--write"], { HOME: home })
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining("no credentials for")])
  })

  test.each([
    [["--write", "--remove"], /contradict/],
    [["--user", "a b"], /no user name/],
    [["--user", "-oProxyCommand"], /no user name/],
    [["--host-alias", "a*"], /no host alias/],
    [["--port", "0"], /"?0"? is not a port/],
  ])("refuses %j", async (argv, why) => {
    expect(await run(...argv)).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringMatching(why) })
  })
})

describe("a block", () => {
  test("hands ssh's shell every word as it is", () => {
    const words = ["it's", 'a "b"', "100% $HOME `id`", "back\\slash", "%h", "plain", "%p"]
    const out = join(home, "words")
    const command = ["/bin/sh", "-c", `printf '%s\\n' "$@" > "${out}"; exit 1`, "sh", ...words]
    write(sshBlock({ name: "n", alias: "a", user: undefined, port: 2022, command }))
    spawnSync("ssh", ["-F", file, "-o", "BatchMode=yes", "a", "true"], { env: { ...process.env, SHELL: "/bin/sh" } })
    expect(readFileSync(out, "utf8").split("\n").slice(0, -1)).toEqual([...words.slice(0, -1), "2022"])
  })

  test("does not hold a line end", () => {
    expect(() => sshBlock({ name: "n", alias: "a", user: undefined, port: 22, command: ["a\nHost *"] })).toThrow(UsageError)
  })

  test("is found by whole lines, twice if it is there twice", () => {
    const block = sshBlock({ name: "n", alias: "a", user: undefined, port: 22, command: ["x"] })
    const other = sshBlock({ name: "n", alias: "a-b", user: undefined, port: 22, command: ["x"] })
    expect(withoutBlock(other, "a")).toBe(other)
    expect(withBlock(`${block}one\n${block}two\n`, "a", "new\n")).toBe("new\none\ntwo\n")
    expect(withoutBlock(`one\n${block}two`, "a")).toBe("one\ntwo")
  })
})
