/** How a forward is written on the command line: `[BIND:]PORT[:HOST:PORT]`, with a path in the place of either side for a unix socket. */
import { hostSchema, type ListenAddress, type StreamTarget, socketPathSchema } from "@trunkline/protocol"
import * as v from "valibot"
import { UsageError } from "../usage-error.ts"

/** Who connects to `listen` reaches `target`, on the other side of the tunnel. */
export interface Forward {
  readonly listen: ListenAddress
  readonly target: StreamTarget
}

/** Both loopback addresses: which of the two a program tries for `localhost` is its own affair. */
export const loopback = "localhost"
/** Every address of the machine. */
export const everyAddress = "*"

const howTo = "PORT, PORT:HOST:PORT, BIND:PORT:HOST:PORT, or a path for a unix socket"

/**
 * `5432` is port 5432 on both sides, `8080:3000` leads to port 3000 of the other side's localhost, port 0 takes any free one. Brackets hold an IPv6 address, or a path
 * with a colon. Throws UsageError.
 */
export function parseForward(text: string): Forward {
  const { listen, rest } = parseListen(text)
  return { listen, target: parseTarget(text, listen, rest) }
}

/** `[BIND:]PORT` or a path, for SOCKS: its clients say themselves where to. Throws UsageError. */
export function parseListenAddress(text: string): ListenAddress {
  const { listen, rest } = parseListen(text)
  if (rest.length > 0) throw new UsageError(`"${text}" says more than where to listen: write PORT, BIND:PORT or a path`)
  return listen
}

interface Listen {
  readonly listen: ListenAddress
  /** What follows. */
  readonly rest: readonly string[]
}

function parseListen(text: string): Listen {
  const [first, ...rest] = partsOf(text)
  if (isPath(first)) return { listen: { path: readPath(text, first) }, rest }
  if (isNumber(first)) return { listen: { host: loopback, port: readPort(text, first, 0) }, rest }
  const [port, ...others] = rest
  if (port === undefined || !isNumber(port)) throw new UsageError(`"${text}" names no port to listen on: write ${howTo}`)
  const host = first === everyAddress ? first : readHost(text, first)
  return { listen: { host, port: readPort(text, port, 0) }, rest: others }
}

function parseTarget(text: string, listen: ListenAddress, [first, second, ...others]: readonly string[]): StreamTarget {
  if (first === undefined) {
    if ("path" in listen) throw new UsageError(`"${text}" does not say where to: write ${text}:HOST:PORT or ${text}:/path`)
    if (listen.port === 0) throw new UsageError(`"${text}" does not say where to: write ${text}:localhost:5432, for example`)
    return { host: "localhost", port: listen.port }
  }
  if (second === undefined) {
    if (isPath(first)) return { path: readPath(text, first) }
    if (isNumber(first)) return { host: "localhost", port: readPort(text, first, 1) }
    throw new UsageError(`"${text}" names no port to connect to: write ${text}:5432, for example`)
  }
  if (others.length > 0 || isPath(first) || isNumber(first) || !isNumber(second))
    throw new UsageError(`"${text}" is not a forward: write ${howTo}`)
  return { host: readHost(text, first), port: readPort(text, second, 1) }
}

const part = String.raw`(?:\[[^\][]+\]|[^:[\]]+)`
const parts = new RegExp(`^${part}(?::${part})*$`)

function partsOf(text: string): readonly [string, ...string[]] {
  if (!parts.test(text)) throw new UsageError(`"${text}" is not a forward: write ${howTo}; an IPv6 address goes in brackets`)
  const [first = "", ...others] = Array.from(text.matchAll(new RegExp(part, "g")), ([found]) => found.replace(/^\[(.*)\]$/, "$1"))
  return [first, ...others]
}

const isNumber = (text: string): boolean => /^\d+$/.test(text)
const isPath = (text: string): boolean => text.includes("/")

function readPort(text: string, written: string, least: 0 | 1): number {
  const port = Number(written)
  if (port >= least && port <= 65_535) return port
  throw new UsageError(`"${text}": ${written} is not a port: give one from 1 to 65535${least === 0 ? ", or 0 for any free one" : ""}`)
}

const readHost = (text: string, host: string): string => checked(text, hostSchema, host)
const readPath = (text: string, path: string): string => checked(text, socketPathSchema, path)

function checked(text: string, schema: v.GenericSchema<string>, value: string): string {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  throw new UsageError(`"${text}": ${result.issues[0].message}`)
}
