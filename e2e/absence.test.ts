/** An agent or a line that is away for seconds: callers wait, people are told, and everything goes on. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { CutProxy } from "./cut-proxy.ts"
import { Screen } from "./tmux.ts"
import { World } from "./world.ts"

let world: World
let agentLine: CutProxy
let clientLine: CutProxy
beforeAll(async () => {
  world = await World.start()
  agentLine = await CutProxy.start(world.port)
  clientLine = await CutProxy.start(world.port)
  await world.agent("box", [], { TRUNKLINE_GATEWAY: agentLine.url, TRUNKLINE_SECRET: world.secret, SHELL: "/bin/sh" })
})
afterAll(async () => {
  await Promise.all([agentLine.stop(), clientLine.stop()])
  await world.stop()
})

test("a request over HTTP for an agent that is redialling waits for it and runs", async () => {
  agentLine.refuse()
  await agentLine.cut({ how: "rst" })
  await world.until(async () => (await world.endpoint("box"))?.status === "offline")
  const answer = world.fetch("/v1/agents/box/exec", { method: "POST", body: JSON.stringify({ argv: ["echo", "here again"] }) })
  await world.until(async () => (await world.client().endpoints.get("box")).clients === 1)
  agentLine.admit()
  const response = await answer
  expect(await response.json()).toMatchObject({ stdout: "here again\n", exitCode: 0 })
})

describe("somebody at a terminal whose connection is lost for longer than two seconds", () => {
  const waiting = (keys: string) => `trunkline: connection to box lost, waiting for it to come back (${keys} leaves)`
  const back = "trunkline: connection to box is back"

  const open = (args: string): Promise<Screen> =>
    Screen.open(
      world,
      `trap : INT
export TRUNKLINE_GATEWAY=${clientLine.url} TRUNKLINE_SECRET="$(cat ${join(world.home, "gateway", "secret")})"
trunkline ${args}
echo "[exit code $?]"`,
      { cols: 120, rows: 24 },
    )

  const lose = async (): Promise<void> => {
    clientLine.refuse()
    await clientLine.cut({ how: "rst" })
  }

  test("is told once that exec waits, and once that it goes on", async () => {
    const go = join(world.home, "go")
    const screen = await open(`exec box -- sh -c 'echo begun; until [ -e ${go} ]; do sleep 0.05; done; echo done; exit 7'`)
    await screen.until("begun")
    await lose()
    await screen.until(waiting("Ctrl-C"))
    clientLine.admit()
    await screen.until(back)
    await writeFile(go, "")
    const text = await screen.until("[exit code 7]")
    expect(text.trimEnd().split("\n")).toEqual(["begun", waiting("Ctrl-C"), back, "done", "[exit code 7]"])
  })

  test("leaves exec by one Ctrl-C, which nobody else could hear", async () => {
    const screen = await open("exec box -- sh -c 'echo begun; sleep 1000'")
    await screen.until("begun")
    await lose()
    await screen.until(waiting("Ctrl-C"))
    await screen.press("C-c")
    await screen.until("[exit code 130]")
    clientLine.admit()
  })

  test("is told by shell on lines of its own, and a full-screen program draws its screen again afterwards", async () => {
    const drawing = `trap 'printf "\\033[H\\033[2Jdrawn"' WINCH; printf "\\033[?1049h"; kill -WINCH $$; while :; do read -r line && exit 5; done`
    const file = join(world.home, "drawing.sh")
    await writeFile(file, drawing)
    const screen = await open(`shell box -- sh ${file}`)
    await screen.until("drawn")
    await lose()
    await screen.until((text) => text.split("\n").includes(waiting("Enter ~.")))
    clientLine.admit()
    await screen.until((text) => text.trimEnd() === "drawn")
    await screen.press("Enter")
    await screen.until("[exit code 5]")
  })
})
