/** JSON bodies: bounded, strict UTF-8, checked against a schema. The only place that parses JSON of a peer. */
import * as v from "valibot"

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** A body that is not what its place asks for; the message says where and what was expected. */
export class InvalidBody extends Error {
  override readonly name = "InvalidBody"
}

export const encodeJson = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value))

/** Bytes or text to a value of the schema. Unknown fields are dropped, so newer peers may add some (SPEC VR3). */
export function parseJson<Schema extends v.GenericSchema>(schema: Schema, source: Uint8Array | string): v.InferOutput<Schema> {
  let value: unknown
  try {
    value = JSON.parse(typeof source === "string" ? source : decoder.decode(source))
  } catch {
    throw new InvalidBody("not valid JSON in UTF-8")
  }
  return checkBody(schema, value)
}

/** A value against the schema; throws {@link InvalidBody} naming the first offending field. */
export function checkBody<Schema extends v.GenericSchema>(schema: Schema, value: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  const issue = result.issues[0]
  const path = v.getDotPath(issue)
  throw new InvalidBody(path === null ? issue.message : `${path}: ${issue.message}`)
}
