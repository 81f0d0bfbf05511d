/** A connection to a service at the agent: bytes both ways at once, either half ending first, broken off by either end, or left behind. */
import { TunnelError, type TunnelSocket } from "@trunkline/client"
import { check } from "./check.ts"
import { difference, patternBytes, sameBytes } from "./pattern.ts"
import { planService, type SimulatedService, upSalt } from "./service.ts"
import type { User } from "./user.ts"

/** What the user does when so many bytes have come. */
interface Change {
  readonly how: "cancel" | "leave" | "vanish"
  readonly atBytes: number
}

export async function useConnection(user: User): Promise<void> {
  const { random, life, machine } = user
  const plan = planService(random)
  const service = life.agent.offerService(plan)
  machine.services.push(service)
  const how = random.pick(["cancel", "leave", "vanish"] as const)
  const change = random.chance(25) ? { how, atBytes: random.integer(0, plan.downBytes) } : undefined
  const socket = await user.attempt(undefined, machine, () => machine.agent.connect({ port: service.port }))
  if (socket === undefined) return
  check(service.connected === 1, `a connection was made ${service.connected} times`)
  const judge = machine.expectationsOf(service.core)
  const told = (error: unknown): void => {
    const byService = error instanceof TunnelError && error.code === "service-failed" && plan.breaksAt >= 0
    const byUs = error instanceof TunnelError && error.code === "aborted" && change !== undefined
    user.told(byService || byUs ? error : judge(error))
  }
  const sending = send(user, service, socket).catch(told)
  const came = await receive(user, service, socket, change).catch(told)
  await sending
  const whole = await socket.closed.then(
    () => true,
    (error: unknown) => void told(error),
  )
  service.wholeForClient = came === true && whole === true
  if (machine.gone) user.move()
}

async function send(user: User, service: SimulatedService, socket: TunnelSocket): Promise<void> {
  const { plan } = service
  const writer = socket.writable.getWriter()
  writer.closed.catch(() => {})
  const pauseMs = user.random.pick([0, 0, 5])
  for (let at = 0; at < plan.upBytes; ) {
    const length = Math.min(plan.chunkBytes, plan.upBytes - at)
    await writer.write(patternBytes(upSalt(plan), at, length))
    at += length
    if (pauseMs > 0) await user.sleep(pauseMs)
  }
  service.upWritten = true
  // Of one that has failed meanwhile closing says only that.
  await writer.close().catch(() => writer.closed)
}

/** True when the end has come. */
async function receive(user: User, service: SimulatedService, socket: TunnelSocket, change: Change | undefined): Promise<boolean> {
  const { plan } = service
  const pauseMs = user.random.pick([0, 0, 1, 20])
  const reader = socket.readable.getReader()
  for (let at = 0; ; ) {
    if (change !== undefined && at >= change.atBytes) return await turn(user, reader, socket, change)
    const { done, value } = await reader.read()
    if (done) {
      check(service.wroteEnd && at === plan.downBytes, `the end after ${at} of ${plan.downBytes} bytes`)
      return true
    }
    const meant = patternBytes(plan.salt, at, value.byteLength)
    if (!sameBytes(value, meant)) check(false, `what comes of service ${service.port}: ${difference(value, meant, at)}`)
    at += value.byteLength
    user.life.count("bytes", value.byteLength)
    if (pauseMs > 0) await user.sleep(pauseMs)
  }
}

/** Breaks it off, or goes away from it. */
async function turn(user: User, reader: ReadableStreamDefaultReader<Uint8Array>, socket: TunnelSocket, { how }: Change): Promise<boolean> {
  switch (how) {
    case "cancel":
      await reader.cancel()
      return false
    case "leave":
      user.machine.leave()
      break
    case "vanish":
      user.machine.vanish()
      break
  }
  await socket.closed
  return false
}
