/** A connection to an HTTP service, through TLS where it speaks that. */
import { isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { limits, TunnelError } from "@trunkline/protocol"
import { errnoOf, sentenceOf } from "../errno.ts"
import { connectHops } from "../targets/connect-hops.ts"
import type { Hop, HttpService } from "../targets/owner-policy.ts"

export interface ServicePlace {
  /** Names the service in errors. */
  readonly what: string
  readonly hops: readonly Hop[]
  readonly tls: HttpService["tls"]
  /** Whose certificate it has to show: a host name or an IP address. */
  readonly serverName: string
}

/** The name of a service's certificate: its host, and of a unix socket the one that the request is for. */
export function serverNameOf({ target }: HttpService, hostHeader: string | undefined): string {
  if ("host" in target) return target.host
  return hostHeader?.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1") || "localhost"
}

/** The socket is paused and may be half-open. Rejects with TunnelError as `connectHops` does, `service-failed` for TLS that does not come about, and with the signal's reason. */
export async function connectService(place: ServicePlace, signal?: AbortSignal): Promise<Socket> {
  const { socket } = await connectHops(place.hops, place.what, signal)
  return place.tls === undefined ? socket : await secure(socket, place, place.tls.verify, signal)
}

async function secure(
  socket: Socket,
  { what, serverName }: ServicePlace,
  verify: boolean,
  signal: AbortSignal | undefined,
): Promise<Socket> {
  const secured = Promise.withResolvers<void>()
  const tls = connectTls({
    socket,
    // RFC 6066: an address is no server name, but it is what the certificate has to hold.
    ...(isIP(serverName) === 0 ? { servername: serverName } : { host: serverName }),
    rejectUnauthorized: verify,
    ALPNProtocols: ["http/1.1"],
  })
  tls.pause()
  tls.once("secureConnect", secured.resolve)
  // Stays on the socket: until its new owner listens, an error would end the agent.
  tls.on("error", (error) => secured.reject(tlsError(error, what)))
  const abort = (): void => secured.reject(signal?.reason)
  signal?.addEventListener("abort", abort, { once: true })
  const seconds = limits.targetConnectMs / 1_000
  const late = new TunnelError("service-timeout", `${what} took the connection and did not finish the TLS handshake within ${seconds} s`)
  const deadline = setTimeout(() => secured.reject(late), limits.targetConnectMs)
  try {
    await secured.promise
    return tls
  } catch (error) {
    tls.destroy()
    throw error
  } finally {
    clearTimeout(deadline)
    signal?.removeEventListener("abort", abort)
  }
}

/** OpenSSL's verdicts on a chain, and Node's on a name. */
const certificateCode = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|CRL|HOSTNAME_MISMATCH/

function tlsError(cause: Error, what: string): TunnelError {
  const code = errnoOf(cause) ?? ""
  if (certificateCode.test(code)) {
    const message = `the certificate of ${what} is not accepted: ${sentenceOf(cause)}; to take any certificate, ask without verification or let the agent's owner name the service as https+insecure:`
    return new TunnelError("service-failed", message, { cause })
  }
  if (code === "ECONNRESET") return new TunnelError("service-failed", `${what} closed the connection during the TLS handshake`, { cause })
  const reason = "reason" in cause && typeof cause.reason === "string" ? cause.reason : sentenceOf(cause)
  return new TunnelError("service-failed", `there is no TLS with ${what} (${reason}); does it speak plain HTTP, or only HTTP/2?`, { cause })
}
