/** Starts that fail, and say why. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { argumentBytesMax, spawnError } from "../../src/processes/spawn-error.ts"
import { exec, killLeftovers, pty } from "./observed-process.ts"

let folder = ""

function file(name: string, text: string, mode: number): void {
  writeFileSync(join(folder, name), text)
  chmodSync(join(folder, name), mode)
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "resolve-command-"))
  file("plain", "#!/bin/sh\necho plain\n", 0o644)
  file("program", "#!/bin/sh\necho program\n", 0o755)
  file("no-shebang", "echo by $0\n", 0o755)
  file("lost-interpreter", "#!/no/such/interpreter\n", 0o755)
  mkdirSync(join(folder, "second"))
  file("second/plain", "#!/bin/sh\necho second\n", 0o755)
})
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(killLeftovers)

describe.each([
  ["exec", exec],
  ["pty", pty],
] as const)("a start of %s", (_, start) => {
  it("is command-not-found for a name that is not in PATH", async () => {
    await expect(start(["no-such-program"], { env: { PATH: folder } })).rejects.toMatchObject({
      code: "command-not-found",
      delivered: "no",
    })
  })

  it("is command-not-found for a path that is not there", async () => {
    await expect(start(["./no-such-program"], { cwd: folder })).rejects.toMatchObject({ code: "command-not-found" })
    await expect(start(["plain/program"], { cwd: folder })).rejects.toMatchObject({ code: "command-not-found" })
  })

  it("is not-executable for a file without permission and for a directory", async () => {
    await expect(start(["./plain"], { cwd: folder })).rejects.toMatchObject({ code: "not-executable" })
    await expect(start(["plain"], { env: { PATH: folder } })).rejects.toMatchObject({ code: "not-executable" })
    await expect(start(["./second"], { cwd: folder })).rejects.toMatchObject({ code: "not-executable" })
  })

  it("is cwd-not-found for a missing directory and for a file", async () => {
    await expect(start(["true"], { cwd: join(folder, "missing") })).rejects.toMatchObject({ code: "cwd-not-found" })
    await expect(start(["true"], { cwd: join(folder, "plain") })).rejects.toMatchObject({ code: "cwd-not-found" })
  })

  it("is spawn-failed with the bound for an argument that is too long", async () => {
    const text = "x".repeat(argumentBytesMax)
    expect(await (await start(["true", text])).ended).toEqual({ type: "code", code: 0 })
    await expect(start(["true", `${text}x`])).rejects.toMatchObject({ code: "spawn-failed", message: expect.stringContaining("131,071") })
    await expect(start(["true"], { env: { LONG: text } })).rejects.toMatchObject({ code: "spawn-failed" })
  })

  it("searches the command's own PATH, entry by entry, passing over what cannot be executed", async () => {
    const run = await start(["plain"], { env: { PATH: `${folder}:${folder}/second:/bin` } })
    await run.ended
    expect(run.stdout().trim()).toBe("second")
  })

  it("takes an empty entry of PATH for the working directory", async () => {
    const run = await start(["program"], { cwd: folder, env: { PATH: ":/bin" } })
    await run.ended
    expect(run.stdout().trim()).toBe("program")
  })

  it("runs a script without a #! line by sh", async () => {
    const run = await start(["./no-shebang"], { cwd: folder })
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    expect(run.stdout().trim()).toBe(`by ${join(folder, "no-shebang")}`)
  })
})

describe("what the operating system refuses", () => {
  it("is not-executable for a script whose interpreter is missing", async () => {
    await expect(exec(["./lost-interpreter"], { cwd: folder })).rejects.toMatchObject({
      code: "not-executable",
      message: expect.stringContaining("interpreter"),
    })
  })

  it("is spawn-failed with the bound for arguments that are too long together", async () => {
    const argv: [string, ...string[]] = ["true", ...Array.from({ length: 100 }, () => "x".repeat(100_000))]
    await expect(exec(argv)).rejects.toMatchObject({ code: "spawn-failed", retryable: false, message: expect.stringContaining("2 MiB") })
  })

  it("says which of the three missing things ENOENT means", () => {
    const missing = Object.assign(new Error("spawn ENOENT"), { code: "ENOENT" })
    expect(spawnError(missing, "/bin/sh", join(folder, "missing")).code).toBe("cwd-not-found")
    expect(spawnError(missing, join(folder, "missing"), folder).code).toBe("command-not-found")
    expect(spawnError(missing, "/bin/sh", folder).code).toBe("not-executable")
  })

  it("may be tried again where a limit was reached, and not where nobody knows", () => {
    const error = (code: string): NodeJS.ErrnoException => Object.assign(new Error(`spawn ${code}`), { code })
    expect(spawnError(error("EAGAIN"), "/bin/sh", "/")).toMatchObject({ code: "spawn-failed", retryable: true })
    expect(spawnError(error("EIO"), "/bin/sh", "/")).toMatchObject({
      code: "spawn-failed",
      retryable: false,
      message: expect.stringContaining("EIO"),
    })
  })
})
