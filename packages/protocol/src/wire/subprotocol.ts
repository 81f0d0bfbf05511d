/** The WebSocket subprotocols of a leg: the protocol version, and beside it a browser's ticket. */
import { protocolVersion } from "./limits.ts"

/** Offered by agents and clients, echoed by the gateway. */
export const subprotocol = `trunkline.v${protocolVersion}`

/** A ticket stands behind this in a client's list. It is never echoed. */
export const ticketSubprotocolPrefix = "trunkline.ticket."
