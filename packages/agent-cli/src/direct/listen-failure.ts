/** Why an address cannot be listened on, in the words of whoever gave it. */
import { TunnelError } from "@trunkline/protocol"

export function listenFailure(address: string, error: unknown): TunnelError {
  const errno = error instanceof Error && "code" in error ? error.code : undefined
  switch (errno) {
    case "EADDRINUSE":
      return new TunnelError("address-in-use", `${address} is already in use: choose another with --listen, or port 0 for any free one`, {
        cause: error,
      })
    case "EACCES":
      return new TunnelError("bad-request", `no permission to listen on ${address}: choose a port above 1023 with --listen`, {
        cause: error,
      })
    default:
      return new TunnelError(
        "bad-request",
        `cannot listen on ${address}: ${error instanceof Error ? error.message : String(error)}; give an address of this machine with --listen`,
        { cause: error },
      )
  }
}
