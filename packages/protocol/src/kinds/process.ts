/** The kinds `exec` and `pty`: both start a process on the agent and attach to it. Open bodies, tags, messages and trailer (SPEC KP). */
import * as v from "valibot"
import { limits } from "../wire/limits.ts"

const argument = v.string("expected a string")
/** What a record of this library's drops without a word. */
const reserved = ["__proto__", "prototype", "constructor"]
const env = v.pipe(
  v.custom<Readonly<Record<string, string>>>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    "not names and values",
  ),
  v.check((value) => !reserved.some((name) => Object.hasOwn(value, name)), `no environment name is one of ${reserved.join(", ")}`),
  v.record(
    v.pipe(v.string(), v.regex(/^[^=\0]+$/, "an environment name has no '=' and no NUL")),
    v.pipe(v.string(), v.regex(/^[^\0]*$/, "no NUL in an environment value")),
  ),
)
const noNul = v.pipe(argument, v.regex(/^[^\0]*$/, "no NUL in an argument"))
const argv = v.pipe(v.tupleWithRest([v.pipe(noNul, v.minLength(1, "the command is empty"))], noNul), v.readonly())
/** Columns or rows. */
export const dimensionSchema = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000))
/** Milliseconds; the longest a timer can wait, about 24 days. */
export const durationMsSchema = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2_147_483_647))

interface Size {
  readonly cols: number
  readonly rows: number
}
const hasFewCells = ({ cols, rows }: Size): boolean => cols * rows <= limits.terminalCellsMax
const tooManyCells = `a terminal of more than ${limits.terminalCellsMax} cells`
/** Columns and rows of a window. */
export const sizeSchema = v.pipe(
  v.object({ cols: dimensionSchema, rows: dimensionSchema }),
  v.check((size) => hasFewCells(size), tooManyCells),
)

/** Bytes of a process's output before some byte of it, stdout and stderr counted together as they were read. */
export const outputOffsetSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER))
export const processIdSchema = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/, "not a process id"))
/** The caller's name for one run: whoever opens with it again attaches to the first run instead of making a second. */
export const idempotencyKeySchema = v.pipe(
  v.string(),
  v.minLength(1, "the key is empty"),
  v.maxLength(limits.idempotencyKeyLengthMax, `longer than ${limits.idempotencyKeyLengthMax} characters`),
)

/** Runs argv without a shell. stdin is /dev/null unless `stdin` is true. */
export const execOpenSchema = v.object({
  argv,
  cwd: v.optional(noNul),
  env: v.optional(env, {}),
  stdin: v.optional(v.boolean(), false),
  /** The process goes on when its client is gone, whatever the reason. */
  detach: v.optional(v.boolean(), false),
  timeoutMs: v.optional(durationMsSchema),
  idempotencyKey: v.optional(idempotencyKeySchema),
})
export type ExecOpen = v.InferOutput<typeof execOpenSchema>

/** Runs argv, or the user's login shell, on a terminal of `cols` × `rows`. */
export const ptyOpenSchema = v.pipe(
  v.object({
    argv: v.optional(argv),
    cwd: v.optional(noNul),
    env: v.optional(env, {}),
    cols: dimensionSchema,
    rows: dimensionSchema,
    timeoutMs: v.optional(durationMsSchema),
    /** A session: it goes on when its client was lost, and is hung up only when the client says so. */
    keep: v.optional(v.boolean(), false),
    idempotencyKey: v.optional(idempotencyKeySchema),
  }),
  v.check((open) => hasFewCells(open), tooManyCells),
)
export type PtyOpen = v.InferOutput<typeof ptyOpenSchema>

/** What ACCEPT carries for a process that was started, or found by its idempotency key: its output comes from offset 0. */
export const processAcceptSchema = v.object({
  processId: processIdSchema,
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
export const processMessageSchema = v.pipe(
  v.variant("type", [
    v.object({ type: v.literal("signal"), signal: v.picklist(signalNames) }),
    v.object({ type: v.literal("resize"), cols: dimensionSchema, rows: dimensionSchema }),
    /** Let the process go on without this client, as if it had been opened so. */
    v.object({ type: v.literal("detach") }),
  ]),
  v.check((message) => message.type !== "resize" || hasFewCells(message), tooManyCells),
)
export type ProcessMessage = v.InferOutput<typeof processMessageSchema>

/** MESSAGE bodies from agent to client. */
export const processNoticeSchema = v.variant("type", [
  /**
   * The output from `from` to before `to` is not kept any more. In its place the next `repaintBytes` bytes of DATA make the
   * terminal's screen as it is at `to`; they have no offsets.
   */
  v.object({ type: v.literal("truncated"), from: outputOffsetSchema, to: outputOffsetSchema, repaintBytes: outputOffsetSchema }),
  /** The terminal's size, and whether this client's window decides it. */
  v.object({ type: v.literal("size"), cols: dimensionSchema, rows: dimensionSchema, driver: v.boolean() }),
])
export type ProcessNotice = v.InferOutput<typeof processNoticeSchema>

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
