/**
 * `GET /v1/agents/NAME/processes/ID/output`: what a process has written, from an offset on. In JSON what is there now, for whoever
 * comes back for more; live until it ends. Whoever reads here changes nothing, and nothing waits for him.
 */
import type { Agent, Process } from "@trunkline/client"
import { json } from "../answer.ts"
import type { Call } from "../route.ts"
import { CollectedOutput } from "./collected-output.ts"
import { liveAnswer } from "./live-answer.ts"
import { readOutputQuery } from "./output-query.ts"
import { shownExit } from "./shown-exit.ts"
import { type Encoded, encode } from "./text-or-bytes.ts"

/** Bytes of output in a JSON answer: as much as an agent usually keeps of a process. The rest is there for the next request. */
const jsonOutputBytesMax = 1_048_576

/** Closes the agent in the end. */
export async function outputAnswer(agent: Agent, id: string, { url, request, ctx }: Call): Promise<Response> {
  const leave = () => agent.close()
  try {
    const { from, form, follow } = readOutputQuery(url.searchParams, request.headers)
    const attached = agent.processes.attach(id, { from, follow, readOnly: true, signal: request.signal })
    if (form !== "application/json") {
      const process = await attached
      const opening = { type: "attached", processId: process.id, pid: process.pid, from, written: process.liveOffset }
      return liveAnswer({ process, opening, leave, shownError: (error) => error }, form, ctx)
    }
    const [view, { state }] = await Promise.all([
      attached.then((process) => read(process, from)),
      agent.processes.get(id, { signal: request.signal }),
    ])
    leave()
    return json({ processId: id, state: view.outcome === null ? state : "ended", ...view })
  } catch (error) {
    leave()
    throw error
  }
}

/** What is there, as far as the bound allows. The exit belongs to the answer with the last of the output. */
async function read(process: Process, from: number) {
  const output = new CollectedOutput(from, jsonOutputBytesMax)
  for await (const event of process.output()) {
    output.add(event)
    if (output.droppedBytes > 0) break
  }
  const { exit, repaint } = output
  if (exit === undefined) output.leaveCutCharacter()
  return {
    from,
    next: output.next,
    written: process.liveOffset,
    truncated: output.gaps,
    ...named("stdout", encode(output.stdout.view())),
    ...named("stderr", encode(output.stderr.view())),
    ...(repaint.byteLength === 0 ? {} : { repaint: repaint.text() }),
    ...(exit === undefined ? { exitCode: null, signal: null, outcome: null, durationMs: null } : shownExit(exit)),
  }
}

const named = (name: "stdout" | "stderr", data: Encoded): Readonly<Record<string, string>> =>
  "text" in data ? { [name]: data.text } : { [`${name}Base64`]: data.base64 }
