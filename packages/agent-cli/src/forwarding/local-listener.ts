/** A listener on this machine, bound as the agent binds one on its own; and why an address cannot be had here, with who holds it. */
import type { Server, Socket } from "node:net"
import { type ListenAddress, TunnelError } from "@trunkline/protocol"
import { errnoOf, sentenceOf } from "../errno.ts"
import { exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { bindAddress } from "../services/bind-address.ts"
import { everyAddress } from "./forward-spec.ts"
import { listenText } from "./forward-text.ts"
import { addressOwner } from "./port-owner.ts"

export interface LocalListenerEvents {
  /** Somebody has connected. The socket is paused and allows half-open connections. */
  connected(socket: Socket): void
  /** One could not be taken, for want of descriptors for instance; the listener goes on. */
  failed(error: Error): void
}

export interface LocalListener {
  /** With the port that was taken. */
  readonly address: ListenAddress
  /** Nobody can connect from now on; connections go on. */
  close(): void
}

/** Rejects with CommandFailure, exit code 1, and then nothing listens. */
export async function listenHere(address: ListenAddress, { connected, failed }: LocalListenerEvents): Promise<LocalListener> {
  try {
    const { servers, address: bound } = await bindHere(address, connected)
    for (const server of servers) server.on("error", failed)
    return { address: bound, close: () => closeAll(servers) }
  } catch (error) {
    const cause = error instanceof TunnelError ? error.cause : error
    throw new CommandFailure(await reasonOf(address, cause), exitCodes.failure, { cause: error })
  }
}

/** Where the machine has IPv6, its socket for every address takes IPv4 as well. */
async function bindHere(address: ListenAddress, connected: (socket: Socket) => void): ReturnType<typeof bindAddress> {
  if ("path" in address || address.host !== everyAddress) return await bindAddress(address, connected)
  const { servers, address: bound } = await bindAddress({ host: "::", port: address.port }, connected).catch((error) => {
    if (error instanceof TunnelError && isNotThere(error.cause)) return bindAddress({ host: "0.0.0.0", port: address.port }, connected)
    throw error
  })
  return { servers, address: { ...bound, host: everyAddress } }
}

const isNotThere = (cause: unknown): boolean => ["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(errnoOf(cause) ?? "")

function closeAll(servers: readonly Server[]): void {
  for (const server of servers) server.close()
}

async function reasonOf(address: ListenAddress, cause: unknown): Promise<string> {
  const shown = listenText(address)
  switch (errnoOf(cause)) {
    case "EADDRINUSE": {
      const owner = await addressOwner(address)
      const other = "path" in address ? "take another path" : "take another port, or 0 for any free one"
      return `${shown} is taken${owner === undefined ? " by another program" : ` by ${owner}`}: end that, or ${other}`
    }
    case "EACCES":
    case "EPERM":
      return "path" in address
        ? `no permission to make the socket ${shown}: take a path in a directory of yours that exists`
        : `no permission to listen on ${shown}: take a port above 1023`
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      if ("path" in address) break
      return `${address.host} is no address of this machine; to reach it from the agent, write ${address.port}:${address.host}:${address.port}`
  }
  return `cannot listen on ${shown}: ${sentenceOf(cause)}`
}
