/**
 * A client of the SDK that is a process of its own, as on another machine: gateway and token from the environment, what it is told to
 * do in its arguments, what is typed on stdin, output on stdout, and on stderr one line of JSON each with the id and with the exit.
 */
import { once } from "node:events"
import { connect, type OutputEvent } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"

const { TRUNKLINE_GATEWAY: url = "", TRUNKLINE_SECRET: token = "" } = process.env
const [, , verb = "", name = "", ...rest] = process.argv
const gateway = connect({ url, token, dial: dialNode })
const agent = gateway.agent(name)

/** No more is read than is written: what came out of here is what was read. */
async function show(bytes: Uint8Array): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, "drain")
}

async function showAll(output: AsyncIterable<OutputEvent>): Promise<void> {
  for await (const event of output) {
    if (event.type === "stdout") await show(event.bytes)
    else if (event.type !== "repaint") say(event)
  }
}

const say = (what: object): void => void process.stderr.write(`${JSON.stringify(what)}\n`)

async function showTerminal(terminal: Awaited<ReturnType<typeof agent.pty.create>>): Promise<void> {
  say({ id: terminal.id })
  // A terminal that has ended takes no more keys, which its end says.
  process.stdin.on("data", (keys: Buffer) => void terminal.write(keys).catch(() => {}))
  for await (const bytes of terminal.output) await show(bytes)
  say(await terminal.wait())
  process.stdin.destroy()
}

switch (verb) {
  case "start": {
    const job = await agent.spawn(rest, { detach: true })
    say({ id: job.id })
    await showAll(job.output())
    break
  }
  case "attach": {
    const [id = "", from = ""] = rest
    await showAll((await agent.processes.attach(id, { from: Number(from) })).output())
    break
  }
  case "shell":
    await showTerminal(await agent.pty.create({ cols: 80, rows: 24, command: rest }))
    break
  case "connect": {
    const [id = "", from = ""] = rest
    await showTerminal(await agent.pty.connect(id, { from: Number(from) }))
    break
  }
  default:
    throw new Error(`what is ${verb}?`)
}
gateway.close()
