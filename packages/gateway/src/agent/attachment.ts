/**
 * What a socket is to its object, as it survives hibernation: one small versioned record per socket. Another
 * version of this code may have written it, so it is checked on every read.
 */
import { type EndpointName, endpointName, type Principal, type Slot, slot } from "@trunkline/protocol"

export type SocketRole =
  /** An agent's socket before its hello; `order` says which came first. */
  | { readonly type: "pending"; readonly name: EndpointName; readonly order: number }
  | { readonly type: "agent"; readonly generation: number; readonly nextSlot: number }
  | { readonly type: "client"; readonly slot: Slot; readonly principal: Principal }
  /** Closed by this side: whatever still arrives from it is ignored. */
  | { readonly type: "retired" }

const attachmentVersion = 1

export const encodeRole = (role: SocketRole): object => ({ ...role, v: attachmentVersion })

/** The role, or undefined for anything this version did not write. */
export function decodeRole(attachment: unknown): SocketRole | undefined {
  if (typeof attachment !== "object" || attachment === null) return undefined
  const fields = attachment as Readonly<Record<string, unknown>>
  if (fields.v !== attachmentVersion) return undefined
  switch (fields.type) {
    case "pending": {
      const name = typeof fields.name === "string" ? endpointName(fields.name) : undefined
      return name !== undefined && isCount(fields.order) ? { type: "pending", name, order: fields.order } : undefined
    }
    case "agent":
      return isCount(fields.generation) && isCount(fields.nextSlot)
        ? { type: "agent", generation: fields.generation, nextSlot: fields.nextSlot }
        : undefined
    case "client":
      return isCount(fields.slot) && isPrincipal(fields.principal)
        ? { type: "client", slot: slot(fields.slot), principal: fields.principal }
        : undefined
    case "retired":
      return { type: "retired" }
    default:
      return undefined
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

function isPrincipal(value: unknown): value is Principal {
  if (typeof value !== "object" || value === null) return false
  const { id, scopes } = value as Readonly<Record<string, unknown>>
  return typeof id === "string" && Array.isArray(scopes) && scopes.every((scope) => typeof scope === "string")
}
