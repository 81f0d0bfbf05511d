/** Branded ids. Only the constructors here make them, so two kinds of id cannot be swapped. */
import { limits } from "./limits.ts"

declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** A client connection's number in one gateway object: u32, never reused within one agent connection. */
export type Slot = Brand<number, "Slot">
/** A stream's number on one link: u32, odd when the client opened it, even when the agent did, never reused. */
export type StreamId = Brand<number, "StreamId">
/** A position in a link's byte sequence: u48. */
export type ByteOffset = Brand<number, "ByteOffset">
/** The addressable name an agent serves under: one DNS label. */
export type EndpointName = Brand<string, "EndpointName">

const namePattern = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/

export const slot = (value: number): Slot => value as Slot
export const streamId = (value: number): StreamId => value as StreamId
export const byteOffset = (value: number): ByteOffset => value as ByteOffset

/** The name, or undefined if it is not 1 to 56 characters of a-z, 0-9 and inner hyphens. */
export function endpointName(value: string): EndpointName | undefined {
  if (value.length > limits.nameLengthMax || !namePattern.test(value)) return undefined
  return value as EndpointName
}

/** One sentence for people whose name was refused. */
export const endpointNameRule = `a name is 1 to ${limits.nameLengthMax} characters of a-z, 0-9 and "-", and starts and ends with a letter or digit`
