/**
 * One end of a measured path in a process of its own, so that it shares no event loop with the other end or with the driver.
 * An end is a module that calls `serveEnd(tasks)`; the driver calls the tasks by name, with plain values.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { basename, dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { buildSync } from "esbuild"
import type { Answer, Call, EndTasks } from "./serve-end.ts"

interface End<Tasks extends EndTasks> {
  readonly pid: number
  /** Rejects with the task's error, when the end has gone, or after 120 s without an answer. */
  call<Name extends keyof Tasks & string>(name: Name, argument: Parameters<Tasks[Name]>[0]): Promise<TaskResult<Tasks[Name]>>
  stop(): Promise<void>
}

type TaskResult<Task> = Task extends (argument: never) => Promise<infer Result> ? Result : never

/** Far above what a task takes, so that a benchmark whose path has lost a message fails instead of waiting for ever. */
const callTimeoutMs = 120_000

/** Starts the module as an end: as plain JavaScript, as it is published. Node's type stripping would cost its collector dearly. */
export const startEnd = <Tasks extends EndTasks>(module: URL): End<Tasks> => {
  const child = fork(built(fileURLToPath(module)), { stdio: ["ignore", "inherit", "inherit", "ipc"] })
  const exited = once(child, "exit")
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let lastId = 0
  child.on("message", (answer: Answer) => {
    const call = waiting.get(answer.id)
    waiting.delete(answer.id)
    if ("error" in answer) call?.reject(new Error(answer.error))
    else call?.resolve(answer.value)
  })
  child.once("exit", (code, signal) => {
    for (const call of waiting.values()) call.reject(new Error(`an end of the measured path ended (${signal ?? code})`))
    waiting.clear()
  })
  return {
    pid: child.pid ?? 0,
    async call<Name extends keyof Tasks & string>(name: Name, argument: Parameters<Tasks[Name]>[0]) {
      const call: Call = { id: ++lastId, name, argument }
      const answered = Promise.withResolvers<unknown>()
      waiting.set(call.id, answered)
      child.send(call, (error) => {
        if (error !== null) answered.reject(error)
      })
      const late = setTimeout(() => answered.reject(new Error(`${name} took longer than ${callTimeoutMs} ms`)), callTimeoutMs)
      const value = await answered.promise.finally(() => clearTimeout(late))
      return value as TaskResult<Tasks[Name]>
    },
    async stop() {
      child.kill("SIGKILL")
      await exited
    },
  }
}

/**
 * One file beside the command line's own build, where its dependencies are found.
 * @param pretends the module's own URL, for one that looks for other files beside it
 */
export const built = (module: string, pretends?: URL): string => {
  const outfile = fileURLToPath(
    new URL(`../packages/agent-cli/dist/bench/${basename(dirname(module))}-${basename(module, ".ts")}.mjs`, import.meta.url),
  )
  buildSync({
    entryPoints: [module],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    external: ["ws", "@lydell/node-pty", "pino"],
    logLevel: "error",
    ...(pretends === undefined ? {} : { define: { "import.meta.url": JSON.stringify(pretends.href) } }),
  })
  return outfile
}
