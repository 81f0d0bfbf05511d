import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { completionScript } from "../../src/commands/completion.ts"

test.each(["bash", "zsh", "fish"])("the %s script parses", (shell) => {
  const script = completionScript(shell)
  expect(script).toContain("exec")
  const directory = mkdtempSync(join(tmpdir(), "trunkline-completion-"))
  try {
    const file = join(directory, shell)
    writeFileSync(file, script)
    execFileSync(shell, ["-n", file])
  } finally {
    rmSync(directory, { recursive: true })
  }
})

/** What bash would offer for the last of these words; `trunkline` itself is a stand-in that knows two agents. */
const offered = (...words: string[]): string[] => {
  const quoted = words.map((word) => `'${word}'`).join(" ")
  const script = `trunkline() { printf '%s\\n' build-7 build-8; }
${completionScript("bash")}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
_trunkline
printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync("bash", ["--norc"], { input: script, encoding: "utf8" })
    .split("\n")
    .filter((line) => line !== "")
}

test("bash is offered commands, options, values and agent names", () => {
  expect(offered("trunkline", "sh")).toEqual(["shell"])
  expect(offered("trunkline", "exec", "--time")).toEqual(["--timeout"])
  expect(offered("trunkline", "exec", "b")).toEqual(["build-7", "build-8"])
  expect(offered("trunkline", "endpoints", "--status", "st")).toEqual(["stale"])
  expect(offered("trunkline", "completion", "z")).toEqual(["zsh"])
  expect(offered("trunkline", "exec", "--timeout", "")).toEqual([])
})

test("bash is offered nothing of ours after --", () => {
  expect(offered("trunkline", "exec", "build-7", "--", "--time")).toEqual([])
})
