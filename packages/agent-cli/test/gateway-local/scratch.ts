/** What these tests need from the machine: scratch directories, tiny file systems, and whether a process still runs. */
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { onTestFinished } from "vitest"
import { WebSocket } from "ws"
import { type GatewayOptions, type RunningGateway, startGateway } from "../../src/gateway-local/gateway-process.ts"

const stubBundle = fileURLToPath(new URL("stub-gateway.js", import.meta.url))

/** An empty directory that is removed after the test. */
export const scratchDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), "trunkline-test-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A memory file system of `size` bytes, mounted for the test; undefined where this user may not mount. */
export const mountScratch = (options: string): string | undefined => {
  const directory = join(scratchDirectory(), "mounted")
  mkdirSync(directory)
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory], { stdio: "ignore" })
  } catch {
    return undefined
  }
  onTestFinished(() => {
    execFileSync("umount", [directory])
  })
  return directory
}

/** A gateway with the stub bundle on a free port, stopped after the test. */
export const startStub = async (options: GatewayOptions): Promise<RunningGateway> => {
  const gateway = await startGateway({ port: 0, bundle: stubBundle, ...options })
  onTestFinished(() => gateway.stop())
  return gateway
}

/** Calls the stub with the gateway's secret and returns its JSON answer. */
export const call = async (gateway: Pick<RunningGateway, "url" | "secretFile">, path: string): Promise<unknown> => {
  const response = await fetch(`${gateway.url}${path}`, { headers: bearer(gateway) })
  return response.json()
}

/**
 * A socket that has exchanged a message, as agents do with their hello. workerd keeps the connection of a hibernatable socket that
 * never received one open after its own close frame, until the peer gives up.
 */
export const openSocket = async (gateway: RunningGateway): Promise<WebSocket> => {
  const socket = new WebSocket(`${gateway.url}/socket`, { headers: bearer(gateway) })
  await once(socket, "open")
  socket.send("hello")
  await once(socket, "message")
  return socket
}

const bearer = (gateway: Pick<RunningGateway, "secretFile">) => ({
  authorization: `Bearer ${readFileSync(gateway.secretFile, "utf8").trim()}`,
})
