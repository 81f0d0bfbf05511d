/** Why a gateway could not start on this machine: one reason a program can switch on, one sentence a person can act on. */
import { TunnelError } from "@trunkline/protocol"

export type GatewayStartReason =
  | "address-in-use"
  | "address-unavailable"
  | "address-denied"
  | "bundle-missing"
  | "data-directory-in-use"
  | "data-directory-unwritable"
  | "disk-full"
  | "secret-unusable"
  | "workerd-failed"

/** `code` is `gateway-unreachable`, never retryable: nothing changes until somebody acts on `reason`. */
export class GatewayStartError extends TunnelError {
  readonly reason: GatewayStartReason

  constructor(reason: GatewayStartReason, message: string, cause?: unknown) {
    super("gateway-unreachable", message, { retryable: false, cause })
    this.reason = reason
  }
}
