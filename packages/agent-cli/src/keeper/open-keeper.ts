/** The keeper for a `serve`: the one that runs, or a new one, or, where none can run, one inside this process. */
import { once } from "node:events"
import { connect } from "node:net"
import { duplexPair } from "node:stream"
import { setTimeout as delay } from "node:timers/promises"
import type { EndpointName, Logger } from "@trunkline/protocol"
import { withoutSecrets } from "../processes/environment.ts"
import type { Retention } from "../processes/process-table.ts"
import type { PolicySettings } from "../targets/policy-settings.ts"
import { KeeperClient, type KeeperClientOptions } from "./keeper-client.ts"
import { type KeeperPath, KeeperUnavailable, keeperFiles, keeperPath, otherVersions } from "./keeper-path.ts"
import { spawnKeeper } from "./spawn-keeper.ts"

export interface OpenKeeperOptions {
  readonly gateway: URL
  readonly name: EndpointName
  readonly logger: Logger
  readonly version: string
  /** The keeper's defaults when absent. */
  readonly retention?: Required<Retention>
  /** What clients may reach; the default when absent. */
  readonly policy?: PolicySettings
  /** Default: the process's own. */
  readonly environment?: NodeJS.ProcessEnv
  /** The keeper's program, if it is not this package's own. */
  readonly entry?: URL
}

/** Milliseconds to come to a keeper's welcome, an older serve's leaving included. */
const openMs = 15_000
/** Milliseconds between attempts: another keeper has the lock and is about to listen, or to end. */
const retryMs = 20
/** Milliseconds an idle keeper gets to end. */
const retireMs = 2_000

/** Never rejects: without a keeper an agent works all the same, and its log says what is lost with it. */
export async function openKeeper(options: OpenKeeperOptions): Promise<KeeperClient> {
  const { logger, version } = options
  try {
    const path = await keeperPath(options.gateway, options.name, options.environment)
    await warnOfOthers(path, logger)
    return await adoptOrSpawn(path, options)
  } catch (error) {
    logger.warn("keeper.unavailable", {
      reason: error instanceof Error ? error.message : String(error),
      consequence: "what runs here ends with this process",
    })
    return await openOwnKeeper(logger, version, options)
  }
}

/** A keeper inside this process, which keeps nothing beyond it. */
export async function openOwnKeeper(
  logger: Logger,
  version: string,
  { retention, policy }: Pick<OpenKeeperOptions, "retention" | "policy"> = {},
): Promise<KeeperClient> {
  // Only here, because an agent with a keeper has no use for all that it does.
  const { Keeper } = await import("./keeper.ts")
  const [near, far] = duplexPair()
  // Its environment is ours as it is.
  const keeper = new Keeper({ version, adoptEnvironment() {}, idle() {} })
  keeper.accept(far)
  const client = KeeperClient.over(near, {
    logger,
    version,
    environment: {},
    outlivesUs: false,
    ...(retention === undefined ? {} : { retention }),
    ...(policy === undefined ? {} : { policy }),
  })
  await client.welcomed
  return client
}

async function adoptOrSpawn({ socket }: KeeperPath, options: OpenKeeperOptions): Promise<KeeperClient> {
  const { logger, version, name, retention, policy, environment = process.env } = options
  const clientOptions: KeeperClientOptions = {
    logger,
    version,
    environment: withoutSecrets(environment),
    outlivesUs: true,
    ...(retention === undefined ? {} : { retention }),
    ...(policy === undefined ? {} : { policy }),
  }
  const giveUpAtMs = performance.now() + openMs
  let spawned = false
  while (performance.now() < giveUpAtMs) {
    const client = await connectTo(socket, clientOptions)
    if (client === undefined) {
      if (spawned) await delay(retryMs)
      await spawnKeeper(socket, name, environment, options.entry)
      spawned = true
      continue
    }
    const welcome = await within(client.welcomed, giveUpAtMs - performance.now())
    if (welcome === undefined) {
      client.close()
      // It was about to end, and has; or it will never answer.
      if (client.loss?.type !== "unsupported") continue
      throw new KeeperUnavailable(`the keeper on ${socket} is of version ${client.loss.version} and does not understand this one`)
    }
    const { pid, links, processes } = welcome
    // One that we have started is of our version, unless this package was changed under us: then the next one would be too.
    if (welcome.version === version || spawned) {
      logger.info(spawned ? "keeper.started" : "keeper.adopted", { pid, ...(spawned ? {} : { links, processes }) })
      return client
    }
    if (links > 0 || processes > 0) {
      logger.warn("keeper.other-version", {
        pid,
        version: welcome.version,
        ours: version,
        links,
        processes,
        consequence: "used as it is until it is idle",
      })
      return client
    }
    client.retire()
    await within(new Promise<void>((resolve) => client.lost.addEventListener("abort", () => resolve(), { once: true })), retireMs)
    client.close()
  }
  throw new KeeperUnavailable(`the keeper on ${socket} does not answer: kill the process whose id is in ${keeperFiles(socket).pid}`)
}

/** Undefined when nobody listens. */
async function connectTo(socket: string, options: KeeperClientOptions): Promise<KeeperClient | undefined> {
  try {
    return await KeeperClient.connect(socket, options)
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined
    // Left over, not there yet, or closed in this moment.
    if (code === "ECONNREFUSED" || code === "ENOENT" || code === "ECONNRESET" || code === "EPIPE") return undefined
    throw new KeeperUnavailable(`the keeper's socket ${socket} cannot be used: ${String(error)}`, { cause: error })
  }
}

/** What a keeper of another version of the protocol keeps is out of reach, and its owner should know. */
async function warnOfOthers(path: KeeperPath, logger: Logger): Promise<void> {
  for (const socket of await otherVersions(path)) {
    if (await listens(socket))
      logger.warn("keeper.left-behind", { socket, consequence: "what it keeps runs to its end, but cannot be reached from here" })
  }
}

async function listens(socket: string): Promise<boolean> {
  const connection = connect(socket)
  try {
    await once(connection, "connect")
    return true
  } catch {
    return false
  } finally {
    connection.destroy()
  }
}

/** Undefined when it takes longer. */
async function within<Value>(promise: Promise<Value>, ms: number): Promise<Value | undefined> {
  const late = new AbortController()
  try {
    return await Promise.race([promise, delay(Math.max(ms, 0), undefined, { signal: late.signal })])
  } finally {
    late.abort()
  }
}
