/** The address a gateway listens on: how it is written, whether it is free, and the URL at which this machine reaches it. */
import { once } from "node:events"
import { createServer } from "node:net"
import { errnoOf, sentenceOf } from "../errno.ts"
import { GatewayStartError } from "./gateway-start-error.ts"

/** `HOST:PORT`, with brackets around an IPv6 host. */
export const formatAddress = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

/** A gateway on every interface is reached on the loopback one. */
export const localUrl = (host: string, port: number): string => {
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host
  return `http://${formatAddress(reachable, port)}`
}

/**
 * Binds the address for a moment, because Node reports the system's error code where workerd prints a sentence.
 * Rejects with `GatewayStartError`: `address-in-use`, `address-unavailable` or `address-denied`.
 */
export const proveFree = async (host: string, port: number): Promise<void> => {
  const address = formatAddress(host, port)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new GatewayStartError(
      "address-unavailable",
      `${port} is not a port: give one from 1 to 65535, or 0 for any free one, with --port`,
    )
  }
  const server = createServer()
  try {
    server.listen({ host, port })
    await once(server, "listening")
  } catch (error) {
    throw addressError(address, error)
  }
  server.close()
  await once(server, "close")
}

const addressError = (address: string, error: unknown): GatewayStartError => {
  switch (errnoOf(error)) {
    case "EADDRINUSE":
      return new GatewayStartError(
        "address-in-use",
        `${address} is already in use: choose another port with --port, or --port 0 for any free one`,
        error,
      )
    case "EACCES":
      return new GatewayStartError("address-denied", `no permission to listen on ${address}: choose a port above 1023 with --port`, error)
    default:
      return new GatewayStartError(
        "address-unavailable",
        `cannot listen on ${address}: ${sentenceOf(error)}; give an address of this machine with --host`,
        error,
      )
  }
}
