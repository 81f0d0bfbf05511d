/** What users do: each errand is one story with the SDK, told in its calls, that must end well or with an honest error. */
import { type Process, type Terminal, TunnelError } from "@trunkline/client"
import { check } from "./check.ts"
import type { Machine } from "./machine.ts"
import { forbidden, type SimulatedProcess } from "./process.ts"
import { useConnection } from "./use-connection.ts"
import type { User } from "./user.ts"
import { View } from "./view.ts"

type Errand = (user: User) => Promise<void>

/** A command is run to its end. */
const runToEnd: Errand = async (user) => {
  const run = user.newRun(user.production(), "attached")
  await user.exec(run, user.machine)
}

/** A command reads what its user has, to the end. */
const runWithInput: Errand = async (user) => {
  const salt = user.random.integer(0, 255)
  const totalBytes = user.random.pick([0, 1, 5_000, 100_000, 700_000])
  const run = user.newRun(["consume", String(salt)], "attached")
  await user.exec(run, user.machine, { stdin: user.input(run, salt, totalBytes) })
}

/** A reader that rests now and then. */
const readSlowly: Errand = async (user) => {
  const { machine } = user
  const run = user.newRun(user.production(), "attached")
  const process = await user.attempt(run, machine, () => machine.agent.spawn(run.argv))
  if (process === undefined) return
  const view = user.view(process, 0, run)
  await user.read(process, view, user.readPlan(), machine, run)
  check(view.gaps === 0, "the only client of a process was not waited for")
}

/** Nobody reads; the exit is all that counts. */
const waitOnly: Errand = async (user) => {
  const { machine } = user
  const run = user.newRun(user.production(), "attached")
  const process = await user.attempt(run, machine, () => machine.agent.spawn(run.argv))
  if (process === undefined) return
  const truth = user.truth(process.pid, run)
  const judge = machine.expectationsOf(truth.core)
  try {
    const { exit } = await process.wait()
    new View(truth, user.life.keeping, truth.output.length).exit(exit)
    user.exited(exit, run)
  } catch (error) {
    user.told(judge(error))
    run.released = true
  }
}

/** Attaches, again and again if it must be, until the process is attached to or is not there any more. */
async function attachTo(user: User, machine: Machine, truth: SimulatedProcess, options: object): Promise<Process | undefined> {
  const id = user.life.idOf(truth)
  for (let tries = 0; id !== undefined && tries < 30; tries++) {
    try {
      const judge = machine.expectations()
      return await machine.agent.processes.attach(id, options).catch((error: unknown) => {
        if (error instanceof TunnelError && error.code === "not-found") {
          check(!user.life.isKept(truth), `process ${truth.pid} is not known any more`)
          throw error
        }
        throw judge(error)
      })
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error
      user.told(error)
      if (error.code === "not-found") return undefined
      await user.sleep(user.random.integer(0, 10_000))
    }
  }
  return undefined
}

/** Starts something that outlives the client, leaves in one of many ways, and comes back from another machine, exactly where it was. */
const leaveAndReturn: Errand = async (user) => {
  const { random, life } = user
  let { machine } = user
  const early = random.chance(70)
  const run = user.newRun(user.production(), early ? "detached" : "attached")
  const started = await user.attempt(run, machine, () => machine.agent.spawn(run.argv, { detach: early }))
  if (started === undefined) return
  const truth = user.truth(started.pid, run)
  life.noteId(truth, started.id)
  const view = user.view(started, 0, run)
  let process: Process | undefined = started
  for (let legs = random.integer(1, 3); legs > 0 && process !== undefined; legs--) {
    const until = view.at + random.integer(1, 200_000)
    if (await user.read(process, view, { ...user.readPlan(), until }, machine, run)) return
    run.released = true
    if (legs === 1 || !early || random.chance(40)) process.disconnect()
    else if (random.chance(50)) machine.leave()
    else machine.vanish()
    await user.sleep(random.pick([0, 10, 2_000]))
    machine = user.move()
    process = await attachTo(user, machine, truth, { from: view.at })
  }
  if (process !== undefined) await user.read(process, view, user.readPlan(), machine, run)
}

/** Several clients look at one process, at their own speeds; those who may only read try more. */
const shareProcess: Errand = async (user) => {
  const { random, life, machine } = user
  const run = user.newRun(user.production(), "detached")
  const started = await user.attempt(run, machine, () => machine.agent.spawn(run.argv, { detach: true }))
  if (started === undefined) return
  const truth = user.truth(started.pid, run)
  life.noteId(truth, started.id)
  const watch = async (): Promise<void> => {
    const own = random.chance(50) ? user.newMachine() : machine
    await user.sleep(random.integer(0, 3_000))
    const from = random.pick<number | "screen" | "live">(["screen", "live", 0, random.integer(0, truth.output.length)])
    const readOnly = random.chance(40)
    const follow = random.chance(70)
    const writtenBefore = truth.output.length
    const process = await attachTo(user, own, truth, { from, readOnly, follow })
    if (process === undefined) return
    const view = user.view(process, from === "screen" ? undefined : from === "live" ? process.liveOffset : from)
    if (readOnly && random.chance(50)) return trespass(user, process, own)
    const done = await user.read(process, view, user.readPlan(), own)
    if (done && !follow)
      check(
        view.ended || view.at >= (from === "live" ? 0 : writtenBefore) || truth.output.length === 0,
        `a look at ${writtenBefore} bytes ended at ${view.at}`,
      )
    if (done && follow) check(view.ended, "an attachment that follows ended without an exit")
  }
  const watchers = Array.from({ length: random.integer(1, 3) }, watch)
  await Promise.all([user.read(started, user.view(started, 0, run), user.readPlan(), machine, run), ...watchers])
}

/** One who may only read writes, resizes and kills all the same: he is thrown out, and nobody else notices. */
async function trespass(user: User, process: Process, machine: Machine): Promise<void> {
  const truth = user.truth(process.pid)
  const judge = machine.expectationsOf(truth.core)
  let signalled = false
  try {
    process.resize(forbidden.cols, forbidden.cols)
    if (user.random.chance(50)) await process.write(Uint8Array.of(forbidden.inputByte))
    else {
      signalled = true
      process.kill(forbidden.signal)
    }
    const { exit } = await process.wait()
    // It had ended before the agent heard of it.
    check(truth.exit !== undefined && exit.type === truth.exit.type, "an attachment that trespassed was told of an exit")
    check(!signalled || truth.endedAtMs !== undefined, "a signal of one who may only read was let pass")
  } catch (error) {
    if (error instanceof TunnelError && (error.code === "denied" || error.code === "bad-request" || error.code === "not-found")) return
    user.told(judge(error))
  }
}

/** A terminal that echoes: typed at, lost, come back to from elsewhere, ended. */
const workInTerminal: Errand = async (user) => {
  const { random, life } = user
  let { machine } = user
  const keep = random.chance(80)
  const run = user.newRun(["echo"], keep ? "kept" : "attached")
  let terminal = await user.attempt(run, machine, () => machine.agent.pty.create({ command: run.argv, cols: 80, rows: 24, keep }))
  if (terminal === undefined) return
  const truth = user.truth(terminal.pid, run)
  life.noteId(truth, terminal.id)
  let view = new View(truth, life.keeping, 0)
  for (let visits = random.integer(1, 3); visits > 0; visits--) {
    const last = visits === 1
    const done = await type(user, machine, terminal, view, last)
    if (done || last || !keep) break
    run.released = true
    const how = random.pick(["vanish", "vanish", "disconnect"])
    if (how === "vanish") {
      run.lost = true
      machine.vanish()
    } else terminal.disconnect()
    machine = user.move()
    // Long enough for the agent to take the first client for lost, or not.
    await user.sleep(random.pick([0, 3_000, 1_500_000]))
    if (random.chance(40)) await peek(user, truth)
    const size = random.chance(50) ? { cols: random.integer(20, 300), rows: 24 } : {}
    const from = random.pick<number | "screen" | "live">(["screen", "screen", "live", view.at])
    const next = await reconnect(user, machine, truth, { from, ...size })
    if (next === undefined) break
    terminal = next
    view = new View(truth, life.keeping, from === "screen" ? 0 : typeof from === "number" ? from : terminal.liveOffset)
  }
  run.released = true
}

/** Somebody looks at a terminal that may have nobody else, says how large a window he has, which is of no interest, and leaves. */
async function peek(user: User, truth: SimulatedProcess): Promise<void> {
  const machine = user.newMachine()
  const terminal = await reconnect(user, machine, truth, { readOnly: true, cols: forbidden.cols, rows: 24 })
  if (terminal === undefined) return
  terminal.resize(forbidden.cols, 25)
  const view = new View(truth, user.life.keeping, 0)
  await user.watch(terminal, view, machine, { pauseMs: 0, until: () => true })
  await user.sleep(200)
  terminal.disconnect()
}

async function reconnect(user: User, machine: Machine, truth: SimulatedProcess, options: object): Promise<Terminal | undefined> {
  const id = user.life.idOf(truth)
  for (let tries = 0; id !== undefined && tries < 30; tries++) {
    const judge = machine.expectations()
    try {
      return await machine.agent.pty.connect(id, options)
    } catch (error) {
      if (error instanceof TunnelError && error.code === "not-found") {
        check(!user.life.isKept(truth), `terminal ${truth.pid} is not known any more`)
        return undefined
      }
      user.told(judge(error))
      await user.sleep(user.random.integer(0, 10_000))
    }
  }
  return undefined
}

/** Types some lines and waits for their echo; the last line of all ends the shell. Returns whether the terminal ended. */
async function type(user: User, machine: Machine, terminal: Terminal, view: View, last: boolean): Promise<boolean> {
  const { random } = user
  const truth = user.truth(terminal.pid)
  let typed = false
  const lines = async (): Promise<void> => {
    for (let line = random.integer(1, 6); line > 0; line--) {
      await terminal.write(`${"x".repeat(random.integer(1, random.pick([5, 80, 3_000])))}\r\n`)
      if (random.chance(30)) drag(user, terminal, random.chance(10) ? 300 : 1)
      await user.sleep(random.pick([0, 5, 400]))
    }
    // From now on its echo is the last there is to see.
    typed = true
    await terminal.write(last ? Uint8Array.of(4) : "#")
  }
  const judge = machine.expectationsOf(view.restarts)
  // Where a write waits for ever the reader fails; what it says counts.
  const typing = lines().catch((error: unknown) => {
    if (!(error instanceof TunnelError && (error.code === "not-found" || error.code === "bad-request"))) user.told(judge(error))
  })
  const ended = await user.watch(terminal, view, machine, {
    pauseMs: random.pick([0, 0, 3]),
    until: () => !last && typed && view.at === truth.output.length,
  })
  await typing
  if (ended && truth.exit !== undefined)
    check(view.at === truth.output.length, `the terminal's end at ${view.at} of ${truth.output.length} bytes`)
  return ended
}

/** Changes the window's size, perhaps more often than a link that is away takes. */
function drag(user: User, terminal: Terminal, times: number): void {
  try {
    for (let count = 0; count < times; count++) terminal.resize(user.random.integer(20, 300), user.random.integer(5, 100))
  } catch (error) {
    check(error instanceof TunnelError && error.code === "overloaded", `a window was dragged: ${String(error)}`)
    user.told(error)
  }
}

/** A terminal program that paints faster than its client looks: in place of what is gone comes the screen. */
const watchTerminal: Errand = async (user) => {
  const { random, life, machine } = user
  const run = user.newRun([...user.production().slice(0, 6), "1"], "kept")
  const terminal = await user.attempt(run, machine, () => machine.agent.pty.create({ command: run.argv, cols: 80, rows: 24 }))
  if (terminal === undefined) return
  const truth = user.truth(terminal.pid, run)
  life.noteId(truth, terminal.id)
  const second = async (): Promise<void> => {
    await user.sleep(random.integer(0, 1_000))
    const own = user.newMachine()
    const readOnly = random.chance(50)
    const other = await reconnect(user, own, truth, { readOnly, cols: readOnly ? forbidden.cols : 100, rows: 30 })
    if (other === undefined) return
    if (readOnly) other.resize(forbidden.cols, 30)
    await user.watch(other, new View(truth, life.keeping, 0), own, { pauseMs: random.pick([0, 5, 100]) })
  }
  const both = random.chance(70) ? [second()] : []
  await Promise.all([user.watch(terminal, new View(truth, life.keeping, 0), machine, { pauseMs: random.pick([0, 5, 60]) }), ...both])
  run.released = true
}

/** Asks for one run as often as it takes, from several places at once. */
const runOnce: Errand = async (user) => {
  const { random, life } = user
  const run = user.newRun(user.production(300_000), "attached", `${user.name}-key-${random.u32()}`)
  const ask = async (machine: Machine): Promise<void> => {
    // Of a run before a restart nobody knows the end, however often he asks.
    let unknown = 0
    for (let tries = 0; tries < 20 && unknown < 2; tries++) {
      const idempotencyKey = run.key ?? ""
      const result = await user.attempt(run, machine, () =>
        machine.agent.exec(run.argv, { idempotencyKey }).catch((error: unknown) => {
          const restarted = error instanceof TunnelError && error.code === "agent-restarted" && error.delivered === "unknown"
          if (!restarted || life.agent.restarts === 0) throw error
          unknown += 1
          return undefined
        }),
      )
      if (result !== undefined) return user.checkResult(run, result)
      check(life.world.faults > 0, "a run with a key failed for no reason")
      await user.sleep(random.integer(0, 20_000))
    }
  }
  await Promise.all(Array.from({ length: random.integer(1, 3) }, (_, index) => ask(index === 0 ? user.machine : user.newMachine())))
  run.released = true
}

/** What would run for ever is killed, by its stream or by its id. */
const kill: Errand = async (user) => {
  const { random, machine, life } = user
  const run = user.newRun(["sleep", "90000000"], "attached")
  const process = await user.attempt(run, machine, () => machine.agent.spawn(run.argv))
  if (process === undefined) return
  const signal = random.pick(["SIGTERM", "SIGKILL", "SIGINT"] as const)
  const view = user.view(process, 0, run)
  const truth = user.truth(process.pid, run)
  life.noteId(truth, process.id)
  await user.sleep(random.integer(0, 2_000))
  if (random.chance(50)) process.kill(signal)
  else {
    const judge = machine.expectations()
    try {
      const description = await machine.agent.processes.kill(process.id, signal)
      check(description.pid === truth.pid, `process ${truth.pid} is described as ${description.pid}`)
    } catch (error) {
      const restarted = error instanceof TunnelError && error.code === "not-found" && life.agent.restarts > 0
      if (!restarted) user.told(judge(error))
      process.kill(signal)
    }
  }
  await user.read(process, view, user.readPlan(), machine, run)
}

/** Goes away, politely or not, from what ends with it: HUP, for those who trap it TERM, for those KILL. */
const abandon: Errand = async (user) => {
  const { random, life } = user
  const machine = user.move()
  const argv = random.pick([["sleep", "90000000"], ["trap", "2000"], ["trap", "9000000"], user.production()] as const)
  const run = user.newRun(argv, "attached")
  const process = await user.attempt(run, machine, () => machine.agent.spawn(run.argv))
  await user.sleep(random.integer(0, 1_000))
  run.released = true
  if (process !== undefined) life.noteId(user.truth(process.pid, run), process.id)
  if (random.chance(50)) machine.leave()
  else machine.vanish()
  run.mustEnd = true
  user.move()
}

/** Changes its mind. */
const abort: Errand = async (user) => {
  const { random, machine } = user
  const run = user.newRun(random.chance(50) ? ["sleep", "90000000"] : user.production(), "attached")
  const changed = new AbortController()
  user.life.world.clock.schedule(random.pick([0, 1, 50, 800]), () => {
    run.released = true
    changed.abort()
  })
  const judge = machine.expectations()
  run.asked += 1
  try {
    const result = await machine.agent.exec(run.argv, { signal: changed.signal })
    user.checkResult(run, result)
  } catch (error) {
    const told = error instanceof TunnelError && error.code === "aborted" ? error : judge(error)
    if (told.code === "aborted") check(changed.signal.aborted, `aborted was what nobody aborted: ${told.message}`)
    user.told(told)
    run.errors.push(told)
    run.mustEnd = true
  }
}

/** Looks at what there is. */
const list: Errand = async (user) => {
  const { machine, life } = user
  const judge = machine.expectations()
  const { restarts } = life.agent
  try {
    for (const { pid, id, state, output, exit } of await machine.agent.processes.list()) {
      const truth = user.truth(pid)
      check(mayTouch(user, truth), `process ${pid} is listed for one whom it does not concern`)
      check(output.to <= truth.output.length, `process ${pid} is listed with ${output.to} bytes, it has written ${truth.output.length}`)
      check(state === "running" || truth.exit !== undefined, `process ${pid} runs and is listed as ended`)
      if (exit !== undefined) check(JSON.stringify(exit) === JSON.stringify(truth.exit), `process ${pid} is listed with another exit`)
      if (life.agent.restarts === restarts) life.noteId(truth, id)
    }
  } catch (error) {
    user.told(judge(error))
  }
}

const mayTouch = ({ principal, life }: User, process: SimulatedProcess): boolean =>
  principal.scopes.includes("admin") || life.runOf(process)?.principalId === principal.id

/** Tries what belongs to others. */
const trespassElsewhere: Errand = async (user) => {
  const { machine, life, random } = user
  const others = life.known.filter((process) => !mayTouch(user, process) && process.alive && process.core === life.agent.restarts)
  const [other] = others
  const id = other === undefined ? undefined : life.idOf(other)
  if (other === undefined || id === undefined) return
  const judge = machine.expectations()
  const { processes } = machine.agent
  const attempt = random.pick<() => Promise<unknown>>([
    () => processes.attach(id),
    () => processes.kill(id, forbidden.signal),
    () => processes.get(id),
  ])
  try {
    await attempt()
    check(false, `somebody else's process ${other.pid} was given to ${user.name}`)
  } catch (error) {
    if (error instanceof TunnelError && (error.code === "denied" || error.code === "not-found")) return
    user.told(judge(error))
  }
}

/** Asks for what is not there, twice: a run that never was does not use up its key. */
const misspell: Errand = async (user) => {
  const { machine } = user
  const run = user.newRun(["missing"], "attached", user.random.chance(50) ? `${user.name}-none-${user.random.u32()}` : undefined)
  for (let times = 2; times > 0; times--) {
    const judge = machine.expectations()
    run.asked += 1
    const error = await machine.agent.exec(run.argv, run.key === undefined ? {} : { idempotencyKey: run.key }).then(
      () => check(false, "a command that does not exist was run"),
      (reason: unknown) => reason,
    )
    if (!(error instanceof TunnelError && error.code === "command-not-found")) user.told(judge(error))
    else check(error.delivered === "no", "a command that was never run was delivered")
  }
}

/** Runs longer than it may. */
const timeOut: Errand = async (user) => {
  const { machine } = user
  const run = user.newRun(["sleep", "90000000"], "attached")
  const result = await user.attempt(run, machine, () => machine.agent.exec(run.argv, { timeoutMs: 1_500 }))
  if (result === undefined) return
  check(result.outcome === "timeout" && result.exitCode === null, `time was up, told was ${result.outcome}`)
  user.checkResult(run, result)
}

/** Those that find most, most often. */
const errands: readonly [Errand, ...Errand[]] = [
  runToEnd,
  runToEnd,
  runWithInput,
  runWithInput,
  readSlowly,
  waitOnly,
  leaveAndReturn,
  leaveAndReturn,
  leaveAndReturn,
  shareProcess,
  shareProcess,
  workInTerminal,
  workInTerminal,
  watchTerminal,
  runOnce,
  runOnce,
  kill,
  abandon,
  abandon,
  abort,
  list,
  trespassElsewhere,
  misspell,
  timeOut,
]

const servicedErrands: readonly [Errand, ...Errand[]] = [...errands, ...Array.from({ length: 8 }, () => useConnection)]

/** A few errands, one after the other. */
export async function live(user: User): Promise<void> {
  const { random } = user
  await user.sleep(random.integer(0, 1_500))
  for (let count = random.integer(1, 3); count > 0; count--) {
    const errand = random.pick(user.life.world.hasServices ? servicedErrands : errands)
    user.doing = errand.name
    user.life.world.note(`${user.name} ${errand.name}`)
    await errand(user)
    await user.sleep(random.pick([0, 0, 500, 5_000]))
  }
  user.doing = "done"
}
