/** What a child finds in its environment. */
import { afterEach, describe, expect, it } from "vitest"
import { loginShell } from "../../src/processes/environment.ts"
import { exec, killLeftovers, pty } from "./observed-process.ts"

afterEach(killLeftovers)

const agentEnv = {
  PATH: "/usr/bin:/bin",
  KEPT: "agent",
  REPLACED: "agent",
  TERM: "dumb",
  TMUX: "outer",
  COLUMNS: "3",
  TRUNKLINE_SECRET: "hush",
  TRUNKLINE_TOKEN: "hush",
}

describe.each([
  ["exec", exec],
  ["pty", pty],
] as const)("the environment of %s", (_, start) => {
  it("is the agent's, then the command's own", async () => {
    const run = await start(["env"], { env: { REPLACED: "command", ADDED: "a=b c" } }, { agentEnv })
    await run.ended
    expect(run.stdout().split(/\r?\n/)).toEqual(expect.arrayContaining(["KEPT=agent", "REPLACED=command", "ADDED=a=b c"]))
  })

  it("has none of the agent's secrets", async () => {
    const run = await start(["env"], {}, { agentEnv })
    await run.ended
    expect(run.stdout()).toContain("KEPT=agent")
    expect(run.stdout()).not.toContain("TRUNKLINE")
    expect(run.stdout()).not.toContain("hush")
  })

  it("has a variable of a secret's name when the command brings its own", async () => {
    const run = await start(["env"], { env: { TRUNKLINE_TOKEN: "mine" } }, { agentEnv })
    await run.ended
    expect(run.stdout()).toContain("TRUNKLINE_TOKEN=mine")
    expect(run.stdout()).not.toContain("hush")
  })
})

describe("the environment of a terminal", () => {
  it("describes that terminal, not the one the agent was started in", async () => {
    const run = await pty(["env"], {}, { agentEnv })
    await run.ended
    expect(run.stdout()).toContain("TERM=xterm-256color")
    expect(run.stdout()).not.toMatch(/TMUX|COLUMNS|LINES/)
  })

  it("has the TERM that is asked for", async () => {
    const run = await pty(["env"], { env: { TERM: "vt100" } }, { agentEnv })
    await run.ended
    expect(run.stdout()).toContain("TERM=vt100")
  })
})

describe("the login shell", () => {
  const search = { PATH: "/usr/bin:/bin" }

  it("is the one SHELL names, if it is there", () => {
    expect(loginShell({ SHELL: "/bin/sh" }, search, "/")).toEqual(["/bin/sh", "-l"])
    expect(loginShell({ SHELL: "/no/such/shell" }, search, "/")[0]).not.toBe("/no/such/shell")
  })
})
