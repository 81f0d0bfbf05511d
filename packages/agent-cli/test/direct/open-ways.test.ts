/** The ways in, as the flags of `serve` ask for them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { endpointName, type Logger, silentLogger } from "@trunkline/protocol"
import { expect, onTestFinished, test } from "vitest"
import { openWays } from "../../src/direct/open-ways.ts"

test.each([
  ["127.0.0.1", false],
  ["localhost", false],
  ["0.0.0.0", true],
])("an agent that listens at %s without a gateway warns of who else can dial it: %s", async (host, warns) => {
  const directory = await mkdtemp(join(tmpdir(), "trunkline-ways-"))
  onTestFinished(() => rm(directory, { recursive: true }))
  const secretFile = join(directory, "secret")
  await writeFile(secretFile, "given", { mode: 0o600 })
  const name = endpointName("box")
  if (name === undefined) throw new Error("not a name")
  const warned: string[] = []
  const logger: Logger = { ...silentLogger, warn: (event) => void warned.push(event) }
  const { listener } = await openWays(
    {
      gateway: new URL("http://127.0.0.1:1"),
      secretFile,
      tokenFile: undefined,
      labels: {},
      tunnelUrl: undefined,
      withSocket: false,
      noTunnel: true,
      listen: { host, port: 0 },
    },
    { name, version: "1", logger, onOnline: () => {} },
  )
  await listener?.close()
  expect(warned).toEqual(warns ? ["direct.exposed"] : [])
})
