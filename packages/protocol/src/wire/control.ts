/**
 * Text messages between one leg and the gateway (SPEC CT): JSON objects with a `type`, and the two liveness
 * strings, which the runtime answers without waking anybody.
 */
import * as v from "valibot"
import { InvalidBody, parseJson } from "./json.ts"
import { limits } from "./limits.ts"

export const pingText = "ping"
export const pongText = "pong"

/** Shown to people elsewhere: nothing in it may move a cursor or change a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const printablePattern = /^[^\u0000-\u001f\u007f-\u009f]*$/
const text = (maximum: number) => v.pipe(v.string(), v.maxLength(maximum), v.regex(printablePattern, "no control characters"))
const u32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
const labelPattern = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$/
const labelPart = v.pipe(
  v.string(),
  v.maxLength(limits.labelLengthMax),
  v.regex(labelPattern, "not a label: letters, digits and inner . _ / -"),
)

/** Key and value pairs a user gives an agent; at most 16, each part at most 63 characters. */
export const labelsSchema = v.pipe(
  v.record(labelPart, labelPart),
  v.check((value) => Object.keys(value).length <= limits.labelsMax, `more than ${limits.labelsMax} labels`),
)
export type Labels = v.InferOutput<typeof labelsSchema>

/** Inclusive range of protocol versions a peer speaks. */
const versionsSchema = v.object({ min: u32, max: u32 })

/** The machine an agent runs on, as `trunkline info` shows it. */
const hostSchema = v.object({ hostname: text(255), os: text(64), arch: text(32), node: v.optional(text(32)) })

export const agentHelloSchema = v.object({
  type: v.literal("hello"),
  protocol: versionsSchema,
  /** Random per agent process: tells "the same agent came back" from "somebody else took the name". */
  instance: text(64),
  version: text(64),
  labels: labelsSchema,
  host: hostSchema,
})
export type AgentHello = v.InferOutput<typeof agentHelloSchema>

/** What an agent may say to the gateway. */
const agentControlSchema = v.variant("type", [
  agentHelloSchema,
  /** No new clients; the ones attached may finish. */
  v.object({ type: v.literal("drain") }),
  /** A clean stop: the endpoint leaves the listing and clients are closed with 1000 "agent stopped". */
  v.object({ type: v.literal("bye") }),
  /** Close one client's socket. */
  v.object({
    type: v.literal("detach"),
    slot: u32,
    code: v.pipe(v.number(), v.integer(), v.minValue(1000), v.maxValue(4999)),
    reason: text(120),
  }),
])
export type AgentControl = v.InferOutput<typeof agentControlSchema>

/** Who a client speaks for; the agent checks its own policy against it. */
export const principalSchema = v.object({ id: text(256), scopes: v.array(text(128)) })
export type Principal = v.InferOutput<typeof principalSchema>

/** What the gateway may say to an agent. */
const gatewayToAgentSchema = v.variant("type", [
  v.object({ type: v.literal("welcome"), protocol: u32, name: text(limits.nameLengthMax), generation: u32 }),
  v.object({ type: v.literal("attached"), slot: u32, principal: principalSchema }),
  /** `ended`: the client has closed its leg with 1000, and with it ended its link. */
  v.object({ type: v.literal("detached"), slot: u32, ended: v.optional(v.boolean()) }),
])
export type GatewayToAgent = v.InferOutput<typeof gatewayToAgentSchema>

/** `away`: its socket is gone, it may come back. `back`: a socket of it is here. `draining`, `stopped`: it leaves for good. */
const agentStateSchema = v.picklist(["away", "back", "draining", "stopped"])
export type AgentState = v.InferOutput<typeof agentStateSchema>

/** Whether the agent's leg is there. Without it a client waits for `agent-state` "back" before it greets. */
const agentPlaceSchema = v.picklist(["here", "away"])
export type AgentPlace = v.InferOutput<typeof agentPlaceSchema>

/** What the gateway may say to a client. Clients say nothing to the gateway in text but pings. */
const gatewayToClientSchema = v.variant("type", [
  v.object({
    type: v.literal("ready"),
    protocol: u32,
    agent: agentPlaceSchema,
    generation: u32,
    instance: text(64),
    version: text(64),
  }),
  v.object({ type: v.literal("agent-state"), state: agentStateSchema, generation: u32, instance: v.optional(text(64)) }),
])
export type GatewayToClient = v.InferOutput<typeof gatewayToClientSchema>

export const encodeControl = (message: AgentControl | GatewayToAgent | GatewayToClient): string => JSON.stringify(message)

function parseControl<Schema extends v.GenericSchema>(schema: Schema, message: string): v.InferOutput<Schema> {
  if (message.length > limits.controlBytesMax) throw new InvalidBody(`control message longer than ${limits.controlBytesMax} characters`)
  return parseJson(schema, message)
}

/** Each throws InvalidBody for a message that the sender may not send. */
export const parseAgentControl = (message: string): AgentControl => parseControl(agentControlSchema, message)
export const parseGatewayToAgent = (message: string): GatewayToAgent => parseControl(gatewayToAgentSchema, message)
export const parseGatewayToClient = (message: string): GatewayToClient => parseControl(gatewayToClientSchema, message)
