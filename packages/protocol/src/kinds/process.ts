/** The kinds `exec` and `pty`: both start a process on the agent. Open bodies, tags, messages and trailer (SPEC KP). */
import * as v from "valibot"
import { limits } from "../wire/limits.ts"

const argument = v.string("expected a string")
const env = v.record(
  v.pipe(v.string(), v.regex(/^[^=\0]+$/, "an environment name has no '=' and no NUL")),
  v.pipe(v.string(), v.regex(/^[^\0]*$/, "no NUL in an environment value")),
)
const noNul = v.pipe(argument, v.regex(/^[^\0]*$/, "no NUL in an argument"))
const argv = v.pipe(v.tupleWithRest([v.pipe(noNul, v.minLength(1, "the command is empty"))], noNul), v.readonly())
const dimension = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000))
/** Milliseconds; the longest a timer can wait, about 24 days. */
export const durationMsSchema = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2_147_483_647))

/** Runs argv without a shell. stdin is /dev/null unless `stdin` is true. */
export const execOpenSchema = v.object({
  argv,
  cwd: v.optional(noNul),
  env: v.optional(env, {}),
  stdin: v.optional(v.boolean(), false),
  /** The process goes on when its client is gone. */
  detach: v.optional(v.boolean(), false),
  timeoutMs: v.optional(durationMsSchema),
})
export type ExecOpen = v.InferOutput<typeof execOpenSchema>

/** Runs argv, or the user's login shell, on a terminal of `cols` × `rows`. */
export const ptyOpenSchema = v.object({
  argv: v.optional(argv),
  cwd: v.optional(noNul),
  env: v.optional(env, {}),
  cols: dimension,
  rows: dimension,
  timeoutMs: v.optional(durationMsSchema),
})
export type PtyOpen = v.InferOutput<typeof ptyOpenSchema>

/** What ACCEPT carries for a process. */
export const processAcceptSchema = v.object({
  processId: v.pipe(v.string(), v.maxLength(64)),
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
})
export type ProcessAccept = v.InferOutput<typeof processAcceptSchema>

/** DATA tags. Client to agent: stdin. Agent to client: stdout (all a PTY has) and stderr. */
export const processTags = { stdin: 0, stdout: 1, stderr: 2 } as const

/** Signals that can be asked for by name; all go to the whole process group. */
export const signalNames = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGKILL",
  "SIGUSR1",
  "SIGUSR2",
  "SIGTERM",
  "SIGCONT",
  "SIGSTOP",
  "SIGTSTP",
  "SIGWINCH",
] as const
export type SignalName = (typeof signalNames)[number]

/** MESSAGE bodies from client to agent. */
export const processMessageSchema = v.variant("type", [
  v.object({ type: v.literal("signal"), signal: v.picklist(signalNames) }),
  v.object({ type: v.literal("resize"), cols: dimension, rows: dimension }),
  /** Let the process go on without this client, as if it had been opened so. */
  v.object({ type: v.literal("detach") }),
])
export type ProcessMessage = v.InferOutput<typeof processMessageSchema>

/**
 * How a process ended. `timeout`: the agent ended it because its time was up. `unknown`: nobody can say, and
 * nobody may read it as success.
 */
export const exitSchema = v.variant("type", [
  v.object({ type: v.literal("code"), code: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255)) }),
  v.object({ type: v.literal("signal"), signal: v.pipe(v.string(), v.maxLength(32)) }),
  v.object({ type: v.literal("timeout"), timeoutMs: durationMsSchema }),
  v.object({ type: v.literal("unknown"), reason: v.pipe(v.string(), v.maxLength(1024)) }),
])
export type Exit = v.InferOutput<typeof exitSchema>

/** The trailer in the agent's FIN: sent after the last byte of output. */
export const processTrailerSchema = v.object({ exit: exitSchema, durationMs: v.pipe(v.number(), v.minValue(0)) })
export type ProcessTrailer = v.InferOutput<typeof processTrailerSchema>

/** Bytes of argv and env that fit in an OPEN; what the message for a longer one names. */
export const processOpenBytesMax = limits.openBytesMax
