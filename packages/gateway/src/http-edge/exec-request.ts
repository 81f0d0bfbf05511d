/** The body of `POST /v1/agents/NAME/exec`, checked. */

import type { Command, SpawnOptions } from "@trunkline/client"
import { checkBody, durationMsSchema, InvalidBody, idempotencyKeySchema, TunnelError } from "@trunkline/protocol"
import * as v from "valibot"

/** A list would pass for a record with numbers for names. */
const variables = v.pipe(
  v.unknown(),
  v.check((value) => !Array.isArray(value), "variables are an object of names and values"),
  v.record(v.string(), v.string()),
)

/** A misspelt field is refused: a `timeoutMs` that is not one would be a command without a limit. */
const schema = v.strictObject({
  argv: v.optional(v.pipe(v.array(v.string()), v.minLength(1, "the command is empty"))),
  command: v.optional(v.pipe(v.string(), v.minLength(1, "the command is empty"))),
  cwd: v.optional(v.string()),
  env: v.optional(variables),
  stdin: v.optional(v.string()),
  timeoutMs: v.optional(durationMsSchema),
  idempotencyKey: v.optional(idempotencyKeySchema),
  detach: v.optional(v.boolean(), false),
})

export interface ExecRequest {
  readonly command: Command
  readonly stdin: string | undefined
  /** The caller wants to know that it runs, and no more. */
  readonly detach: boolean
  readonly options: Omit<SpawnOptions, "signal">
}

/** Throws `bad-request` naming the field. */
export function parseExecRequest(body: unknown): ExecRequest {
  try {
    const { argv, command, cwd, env, stdin, timeoutMs, idempotencyKey, detach } = checkBody(schema, body)
    const chosen = argv ?? command
    if (chosen === undefined || (argv !== undefined && command !== undefined))
      throw new InvalidBody("give either argv (no shell) or command (a line for /bin/sh)")
    return {
      command: chosen,
      stdin,
      detach,
      options: {
        ...(cwd === undefined ? {} : { cwd }),
        ...(env === undefined ? {} : { env }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      },
    }
  } catch (error) {
    if (error instanceof InvalidBody) throw new TunnelError("bad-request", error.message)
    throw error
  }
}
