/** Connections as users have them, through `forward` both ways and `connect`, with transfers over them both ways, each half's end first. */
import { once } from "node:events"
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from "node:net"
import type { Lines } from "./lines.ts"
import { Bytes, type Half, read, write } from "./transfers.ts"
import type { Command, World } from "./world.ts"

export interface Place {
  readonly world: World
  readonly lines: Lines
  /** Done when the test is over, whatever came of it. */
  readonly later: (undo: () => unknown) => void
}

export interface Carried {
  readonly halves: readonly Half[]
  /** Halves of which the near end is ours: what they say of a loss is what users are told. */
  readonly near: readonly Half[]
  /** What must be true once all halves are over. */
  readonly ended?: () => Promise<void>
  /** Whoever carries it for us, where that is a command. */
  readonly commands?: readonly Command[]
}

/** Who writes and who reads on one connection; who has nothing to write ends his half at once. */
export interface Talkers {
  readonly up?: Bytes
  readonly down?: Bytes
}

/** Both ways at once, and each way alone while the other half has ended. */
export function shapes(kind: string): {
  readonly talkers: readonly Talkers[]
  readonly halves: readonly Bytes[]
  readonly near: readonly Bytes[]
} {
  const half = (name: string) => new Bytes(`${kind}, ${name}`)
  const both = { up: half("up beside down"), down: half("down beside up") }
  const [download, upload] = [{ down: half("down") }, { up: half("up") }]
  return {
    talkers: [both, download, upload],
    halves: [both.up, both.down, download.down, upload.up],
    near: [both.down, download.down],
  }
}

export async function listen(server: Server, { later }: Place): Promise<number> {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => sockets.add(socket))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  later(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

function services(talkers: readonly Talkers[], place: Place): Promise<readonly number[]> {
  const joined = ({ up, down }: Talkers) =>
    createServer({ allowHalfOpen: true }, (socket) => {
      read(up, socket)
      write(down, socket)
    })
  return Promise.all(talkers.map((each) => listen(joined(each), place)))
}

function visit(ports: readonly number[], talkers: readonly Talkers[], { later }: Place): void {
  for (const [at, { up, down }] of talkers.entries()) {
    const socket = dial({ host: "127.0.0.1", port: ports[at] ?? 0, allowHalfOpen: true })
    later(() => socket.destroy())
    read(down, socket)
    write(up, socket)
  }
}

/** Starts `forward` and resolves with the ports it has taken. */
async function forward(place: Place, args: readonly string[]): Promise<{ readonly command: Command; readonly ports: readonly number[] }> {
  const command = place.lines.command(["forward", place.lines.name, ...args])
  await command.until(({ stdout }) => stdout.toString().split("\n").length > 3)
  const ports = command.stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => Number(line.split(":").at(-1)))
  return { command, ports }
}

export async function forwarded(place: Place): Promise<Carried> {
  const { talkers, halves, near } = shapes("forward")
  const targets = await services(talkers, place)
  const { command, ports } = await forward(
    place,
    targets.map((port) => `0:127.0.0.1:${port}`),
  )
  visit(ports, talkers, place)
  return { halves, near, commands: [command] }
}

export async function reverse(place: Place): Promise<Carried> {
  const { talkers, halves } = shapes("forward -R")
  const targets = await services(talkers, place)
  const { command, ports } = await forward(
    place,
    targets.flatMap((port) => ["-R", `0:127.0.0.1:${port}`]),
  )
  visit(ports, talkers, place)
  // What comes to our side is what the visitors there write.
  return { halves, near: talkers.flatMap(({ up }) => up ?? []), commands: [command] }
}

export async function connected(place: Place): Promise<Carried> {
  const { talkers, halves, near } = shapes("connect")
  const ports = await services(talkers, place)
  const commands = talkers.map(({ up, down }, at) => {
    const command = place.lines.command(["connect", place.lines.name, String(ports[at])], "pipe")
    const { stdin, stdout } = command.child
    if (stdin === null || stdout === null) throw new Error("a command without stdin and stdout")
    // Its end says what happened.
    stdin.on("error", () => {})
    write(up, stdin)
    stdout.on("data", (chunk: Buffer) => down?.take(chunk))
    void command.finished.then(({ code, stderr }) => (code === 0 ? down?.wasAll() : down?.broke(new Error(`${code}: ${stderr}`))))
    return command
  })
  return { halves, near, commands }
}
