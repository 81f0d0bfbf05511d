/** SPEC against the code and the tests: an id or a code that only one of them knows is a mistake in one of them. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { closeCodes, errorCodes, isFinalCloseCode } from "../src/index.ts"

const root = join(import.meta.dirname, "..")
const spec = readFileSync(join(root, "SPEC.md"), "utf8")
const rules = new Set(Array.from(spec.matchAll(/\*\*([A-Z]{2}\d+)\*\*/g), ([, id]) => id))

const sources = (folder: string): string =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => readFileSync(join(root, folder, path), "utf8"))
    .join("\n")

/** Ids that the text cites in this form and SPEC does not have. */
const strangers = (text: string, form: RegExp): string[] =>
  [...text.matchAll(form)].map(([, id]) => id ?? "").filter((id) => !rules.has(id))

describe("SPEC.md", () => {
  test("has a rule for every violation that is thrown, every id the sources mention and every id a test cites", () => {
    const core = sources("src")
    expect(core).toContain('ProtocolViolation("LK2"')
    expect(strangers(core, /ProtocolViolation\("([^"]+)"/g)).toEqual([])
    expect(strangers(core, /SPEC ([A-Z]{2}\d+)/g)).toEqual([])
    expect(strangers(sources("test"), /"\[([A-Z]{2}\d+)\]/g)).toEqual([])
  })

  test("gives no id twice", () => {
    const ids = Array.from(spec.matchAll(/^- \*\*([A-Z]{2}\d+)\*\*/gm), ([, id]) => id)
    expect(ids).toEqual([...new Set(ids)])
  })

  test("says what every error code means", () => {
    expect(
      Array.from(spec.matchAll(/^\| `([a-z-]+)` \| /gm), ([, code]) => code).filter((code) => code !== undefined && code in errorCodes),
    ).toEqual(Object.keys(errorCodes))
  })

  test("lists every close code and which are final", () => {
    const listed = Array.from(spec.matchAll(/^\| (\d{4}) \| (yes)? ?\|/gm), ([, code, final]) => [Number(code), final === "yes"])
    expect(listed).toEqual(Object.values(closeCodes).map((code) => [code, isFinalCloseCode(code)]))
  })
})
