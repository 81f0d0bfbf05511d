import { chmodSync, statSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { defaultDataDirectory, openDataDirectory } from "../../src/gateway-local/data-directory.ts"
import { agentsMaxOf, openFilesMax, parseLimit } from "../../src/gateway-local/process-table.ts"
import { mountScratch, scratchDirectory } from "./scratch.ts"

test("the default is the user's data home of each system", () => {
  expect(defaultDataDirectory({ XDG_DATA_HOME: "/data" }, "linux")).toBe("/data/trunkline/gateway")
  expect(defaultDataDirectory({ XDG_DATA_HOME: "relative" }, "linux")).toBe(join(homedir(), ".local/share/trunkline/gateway"))
  expect(defaultDataDirectory({}, "darwin")).toBe(join(homedir(), "Library/Application Support/trunkline/gateway"))
})

test("a new directory and its storage are private; one that exists keeps its mode", async () => {
  const fresh = await openDataDirectory(join(scratchDirectory(), "a", "b"))
  expect(statSync(fresh.path).mode & 0o777).toBe(0o700)
  expect(statSync(fresh.objects).mode & 0o777).toBe(0o700)

  const existing = scratchDirectory()
  chmodSync(existing, 0o755)
  const opened = await openDataDirectory(existing)
  expect(statSync(existing).mode & 0o777).toBe(0o755)
  expect(statSync(join(opened.objects, "..")).mode & 0o777).toBe(0o700)
})

test("a file in the directory's place is named", async () => {
  const file = join(scratchDirectory(), "file")
  writeFileSync(file, "")
  for (const path of [file, join(file, "below")]) {
    await expect(openDataDirectory(path)).rejects.toMatchObject({
      reason: "data-directory-unwritable",
      message: expect.stringContaining(`${path} cannot be made, because a file is in its place`),
    })
  }
})

test("a directory without write permission is named, with what to do", async () => {
  const directory = scratchDirectory()
  chmodSync(directory, 0o555)
  // The superuser may write anywhere, so it stops being one for the attempt.
  if (process.geteuid?.() === 0) {
    process.seteuid?.(65_534)
    onTestFinished(() => process.seteuid?.(0))
  }
  await expect(openDataDirectory(join(directory, "data"))).rejects.toMatchObject({
    reason: "data-directory-unwritable",
    message: expect.stringContaining(
      `no permission to write to the data directory ${join(directory, "data")} (EACCES): change its owner or mode`,
    ),
  })
})

test("a read-only file system is named", async (context) => {
  const directory = mountScratch("size=2m,ro")
  if (directory === undefined) return context.skip("this user may not mount")
  for (const path of [directory, join(directory, "new", "data")]) {
    await expect(openDataDirectory(path)).rejects.toMatchObject({
      reason: "data-directory-unwritable",
      message: expect.stringContaining(`${path} is on a read-only file system (EROFS)`),
    })
  }
})

test("a full disk is named, and nothing of the attempt is left on it", async (context) => {
  const directory = mountScratch("size=512k")
  if (directory === undefined) return context.skip("this user may not mount")
  await expect(openDataDirectory(directory)).rejects.toMatchObject({
    reason: "disk-full",
    message: expect.stringContaining(`the disk of the data directory ${directory} is full (ENOSPC`),
  })
  // All of the disk but a few pages is free again.
  writeFileSync(join(directory, "rest"), new Uint8Array(480 * 1024))
})

test("the number of agents is a fifth of the limit on open files, if there is one", async () => {
  expect(agentsMaxOf(parseLimit("20000\n"))).toBe(4_000)
  expect(agentsMaxOf(parseLimit("unlimited\n"))).toBe(Number.POSITIVE_INFINITY)
  expect(() => parseLimit("many")).toThrow("not a limit on open files")
  expect(await openFilesMax()).toBeGreaterThan(0)
})
