/** Where a keeper's socket may be: in a directory that only this user can enter, under a path that fits. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { endpointName } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { keeperPath, otherVersions } from "../../src/keeper/keeper-path.ts"

let state: string
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "trunkline-state-"))
})
afterEach(() => rmSync(state, { recursive: true, force: true }))

const gateway = new URL("http://127.0.0.1:8787/below")
const pathOf = (name = "box", from: URL = gateway, stateHome = state) => {
  const checked = endpointName(name)
  if (checked === undefined) throw new Error(`${name} is no name`)
  return keeperPath(from, checked, { XDG_STATE_HOME: stateHome })
}
const modeOf = (path: string) => statSync(path).mode & 0o777

describe("a keeper's socket", () => {
  test("is in a directory of its own, made for this user alone", async () => {
    const { directory, socket } = await pathOf()
    expect(directory).toBe(join(state, "trunkline"))
    expect(dirname(socket)).toBe(directory)
    expect(modeOf(directory)).toBe(0o700)
    expect((await pathOf()).socket).toBe(socket)
  })

  test("is another for another name or another gateway, and the same below one gateway's paths", async () => {
    const { socket } = await pathOf()
    expect((await pathOf("other")).socket).not.toBe(socket)
    expect((await pathOf("box", new URL("https://127.0.0.1:8787/"))).socket).not.toBe(socket)
    expect((await pathOf("box", new URL("http://127.0.0.1:8787/elsewhere"))).socket).toBe(socket)
  })

  test("is in the temporary directory when its path would not fit a socket's address", async () => {
    const { directory, socket } = await pathOf("box", gateway, join(state, "x".repeat(60)))
    expect(directory).toBe(join(tmpdir(), `trunkline-${process.getuid?.()}`))
    expect(socket.length).toBeLessThanOrEqual(103)
    expect(modeOf(directory)).toBe(0o700)
  })

  test.each([0o777, 0o750, 0o701])("is refused in a directory of mode %o, which stays as it is", async (mode) => {
    const directory = join(state, "trunkline")
    mkdirSync(directory)
    chmodSync(directory, mode)
    await expect(pathOf()).rejects.toMatchObject({ name: "KeeperUnavailable", message: expect.stringContaining("chmod 700") })
    expect(modeOf(directory)).toBe(mode)
  })

  test.runIf(process.getuid?.() === 0)("is refused in a directory of another user", async () => {
    mkdirSync(join(state, "trunkline"), { mode: 0o700 })
    chownSync(join(state, "trunkline"), 12_345, 12_345)
    await expect(pathOf()).rejects.toThrow("belongs to another user (12345)")
  })

  test("is refused behind a symbolic link, and where a file is in the directory's place", async () => {
    const elsewhere = join(state, "elsewhere")
    mkdirSync(elsewhere, { mode: 0o700 })
    symlinkSync(elsewhere, join(state, "trunkline"))
    await expect(pathOf()).rejects.toThrow("not a directory")
    rmSync(join(state, "trunkline"))
    writeFileSync(join(state, "trunkline"), "")
    await expect(pathOf()).rejects.toMatchObject({ name: "KeeperUnavailable" })
  })

  test("has those of other versions of the same agent beside it", async () => {
    const path = await pathOf()
    const other = path.socket.replace(/-v\d+\.sock$/, "-v999.sock")
    writeFileSync(other, "")
    writeFileSync(path.socket, "")
    writeFileSync((await pathOf("other")).socket, "")
    expect(await otherVersions(path)).toEqual([other])
  })
})
