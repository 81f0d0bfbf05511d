/** The listening sockets for an address that a client asked for, and why it cannot be had (SPEC KR1). */
import { lstatSync, unlinkSync } from "node:fs"
import { connect, createServer, type ListenOptions, type Server, type Socket } from "node:net"
import { dirname } from "node:path"
import { type ListenAddress, TunnelError, targetText } from "@trunkline/protocol"
import { errnoOf } from "../errno.ts"
import { keepAliveMs } from "../targets/connect-hops.ts"

export interface Bound {
  readonly servers: readonly Server[]
  /** With the port that was taken. */
  readonly address: ListenAddress
}

/** `connected` is given each connection, paused. Rejects with TunnelError `address-in-use`, `denied`, `bad-request`, `overloaded`. */
export async function bindAddress(address: ListenAddress, connected: (socket: Socket) => void): Promise<Bound> {
  const newServer = (): Server => {
    const options = { pauseOnConnect: true, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }
    // Until its owner listens, a connection that the system cannot give us would end the agent.
    return createServer(options, connected).on("error", () => {})
  }
  try {
    if ("path" in address) return { servers: [await bindPath(address.path, newServer)], address }
    return await bindPort(address.host, address.port, newServer)
  } catch (error) {
    throw listenError(error, address)
  }
}

/** Programs that are told "localhost" connect to either of its addresses, so both are taken where there are two. */
async function bindPort(host: string, wanted: number, newServer: () => Server): Promise<Bound> {
  const first = await listening(newServer(), { host: host === "localhost" ? "127.0.0.1" : host, port: wanted })
  const taken = first.address()
  const port = taken === null || typeof taken === "string" ? wanted : taken.port
  const bound = { servers: [first], address: { host, port } }
  if (host !== "localhost") return bound
  try {
    return { ...bound, servers: [first, await listening(newServer(), { host: "::1", port })] }
  } catch (error) {
    if (["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(errnoOf(error) ?? "")) return bound
    first.close()
    throw error
  }
}

/** A socket in the file system whose listener has died stays there, and is in the way of the next one. */
async function bindPath(path: string, newServer: () => Server): Promise<Server> {
  try {
    return await listeningAt(path, newServer())
  } catch (error) {
    if (errnoOf(error) !== "EADDRINUSE") throw error
    const inode = socketInode(path)
    if (inode === undefined || !(await isDead(path))) throw error
    // Whoever else found it dead may have put a living one in its place meanwhile.
    if (socketInode(path) !== inode) throw error
    unlinkSync(path)
    return await listeningAt(path, newServer())
  }
}

/** For the agent's user alone from its first moment: binding is done when `listen` returns. */
function listeningAt(path: string, server: Server): Promise<Server> {
  const mask = process.umask(0o177)
  try {
    return listening(server, { path })
  } finally {
    process.umask(mask)
  }
}

function listening(server: Server, options: ListenOptions): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(options, () => {
      server.off("error", reject)
      resolve(server)
    })
  })
}

/** Undefined unless a socket of the agent's user is there. */
function socketInode(path: string): bigint | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return found?.isSocket() === true && found.uid === BigInt(process.getuid?.() ?? -1) ? found.ino : undefined
}

const isDead = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect({ path })
    probe.once("connect", () => {
      probe.destroy()
      resolve(false)
    })
    probe.once("error", (error) => resolve(errnoOf(error) === "ECONNREFUSED"))
  })

function listenError(cause: unknown, address: ListenAddress): TunnelError {
  const place = targetText(address)
  const code = errnoOf(cause)
  switch (code) {
    case "EADDRINUSE":
      return new TunnelError("address-in-use", `${place} is taken at the agent; ${otherPlace(address)}`, { cause })
    case "EACCES":
    case "EPERM":
    case "EROFS":
      // For a path the system's layer below Node says the same of a directory that is not there.
      if ("path" in address && lstatSync(dirname(address.path), { throwIfNoEntry: false }) === undefined) {
        return new TunnelError("bad-request", `the agent cannot listen at ${place}: its directory does not exist`, { cause })
      }
      return new TunnelError("denied", `the agent's user may not listen at ${place} (${code}); ${otherPlace(address)}`, { cause })
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new TunnelError("bad-request", `${place} is not an address of the agent's machine; 127.0.0.1 and 0.0.0.0 always are`, {
        cause,
      })
    case "EMFILE":
    case "ENFILE":
      return new TunnelError("overloaded", `the agent has as many files open as it may and cannot listen at ${place}`, { cause })
    default:
      return new TunnelError("bad-request", `the agent cannot listen at ${place}: ${code ?? cause}`, { cause })
  }
}

const otherPlace = (address: ListenAddress): string =>
  "path" in address ? "choose another path" : "choose another port, or port 0 for any free one"
