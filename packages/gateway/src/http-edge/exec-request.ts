/** The body of `POST /v1/agents/NAME/exec`, checked. */

import type { Command } from "@trunkline/client"
import { checkBody, durationMsSchema, InvalidBody, TunnelError } from "@trunkline/protocol"
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
  idempotencyKey: v.optional(v.unknown()),
})

export interface ExecRequest {
  readonly command: Command
  readonly stdin: string | undefined
  readonly options: { readonly cwd?: string; readonly env?: Record<string, string>; readonly timeoutMs?: number }
}

/** Throws `bad-request` naming the field. */
export function parseExecRequest(body: unknown): ExecRequest {
  try {
    const { argv, command, cwd, env, stdin, timeoutMs, idempotencyKey } = checkBody(schema, body)
    // Accepting a key and running the command twice would be a lie.
    if (idempotencyKey !== undefined)
      throw new InvalidBody("idempotencyKey: this gateway cannot honour it yet, so it does not run the command")
    const chosen = argv ?? command
    if (chosen === undefined || (argv !== undefined && command !== undefined))
      throw new InvalidBody("give either argv (no shell) or command (a line for /bin/sh)")
    return {
      command: chosen,
      stdin,
      options: {
        ...(cwd === undefined ? {} : { cwd }),
        ...(env === undefined ? {} : { env }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      },
    }
  } catch (error) {
    if (error instanceof InvalidBody) throw new TunnelError("bad-request", error.message)
    throw error
  }
}
