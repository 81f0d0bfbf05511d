/** The end's half of `end-process.ts`: an end is a module that calls `serveEnd(tasks)`. */

/** Tasks take one plain value and resolve with one. */
export type EndTasks = Readonly<Record<string, (argument: never) => Promise<unknown>>>

export interface Call {
  readonly id: number
  readonly name: string
  readonly argument: unknown
}

export type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: string }

/** Answers the driver's calls; the process ends with the driver. */
export const serveEnd = (tasks: EndTasks): void => {
  const run = async ({ id, name, argument }: Call): Promise<Answer> => {
    try {
      const task = tasks[name]
      if (task === undefined) throw new Error(`no task ${name}`)
      return { id, value: await task(argument as never) }
    } catch (error) {
      return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    }
  }
  process.on("message", (call: Call) => {
    void run(call).then((answer) => process.send?.(answer))
  })
  process.once("disconnect", () => process.exit())
}
