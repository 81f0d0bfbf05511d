/** `trunkline serve`: the agent, from its settings to a clean stop, or to leaving what runs to the next serve. */
import { hostname } from "node:os"
import { isDeepStrictEqual } from "node:util"
import {
  checkBody,
  type EndpointName,
  endpointName,
  endpointNameRule,
  InvalidBody,
  type Logger,
  labelsSchema,
  TunnelError,
} from "@trunkline/protocol"
import { openWays, type WayValues } from "../direct/open-ways.ts"
import { exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { createLogger } from "../logging.ts"
import { type PolicyValues, readServeConfig, type ServeConfig } from "../serve-config.ts"
import type { Values } from "../settings/settings.ts"
import { OwnerPolicy } from "../targets/owner-policy.ts"
import { defaultPolicySettings } from "../targets/policy-settings.ts"
import { UsageError } from "../usage-error.ts"
import { trunklineVersion } from "../version.ts"

type ServeValues = Values<"name" | "gracePeriod" | "journalBytes" | "keepEnded" | "logLevel" | "logFormat"> & WayValues & PolicyValues

export async function run(values: ServeValues): Promise<number> {
  const name = nameOf(values.name)
  refuseBadLabels(values.labels)
  const config = await readServeConfig(values)
  const logger = await createLogger(values.logLevel, values.logFormat)
  const version = trunklineVersion()
  let announced = false
  const onOnline = () => {
    if (announced || !process.stderr.isTTY) return
    announced = true
    const at = values.noTunnel ? ` --gateway ${ways.listener?.url}` : ""
    process.stderr.write(`online as ${name}; try: trunkline exec ${name}${at} -- uname -a\n`)
  }
  const ways = await openWays(values, { name, version, logger, onOnline })
  const [{ serve }, { openKeeper }] = await Promise.all([import("../agent/serve.ts"), import("../keeper/open-keeper.ts")])

  tellPolicy(config, logger)

  const stop = new AbortController()
  const force = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) return force.abort()
    if (process.stderr.isTTY) process.stderr.write("stopping: open commands may finish; once more stops at once\n")
    stop.abort()
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal)
  const leave = new AbortController()
  let leavingCode: number = exitCodes.ok
  process.on("SIGUSR2", () => leave.abort())
  process.on("SIGHUP", () => {
    leavingCode = exitCodeOfSignal("SIGHUP")
    leave.abort()
  })
  const retention = { journalBytes: values.journalBytes, keepEndedMs: values.keepEnded }
  const outcome = await serve(
    {
      name,
      ...ways,
      labels: values.labels,
      logger,
      version,
      openKeeper: () => openKeeper({ gateway: ways.gateway, name, logger, version, retention, policy: config.policy }),
      drainMs: values.gracePeriod,
      force: force.signal,
      leave: leave.signal,
      onOnline,
    },
    stop.signal,
  )
  switch (outcome.type) {
    case "stopped":
      return exitCodes.ok
    case "left":
      return outcome.why === "asked" ? leavingCode : exitCodes.ok
    case "refused":
      throw new CommandFailure(`stopped, because the gateway refuses this agent: ${outcome.error.message}`, exitCodes.link, {
        cause: outcome.error,
      })
  }
}

function nameOf(given: string | undefined): EndpointName {
  const text = given ?? hostname().split(".")[0]?.toLowerCase() ?? ""
  const name = endpointName(text)
  if (name !== undefined) return name
  const origin = given === undefined ? `this machine's host name gives "${text}", which` : `"${text}"`
  throw new TunnelError(
    "bad-name",
    `${origin} is not an endpoint name: ${endpointNameRule}${given === undefined ? "; give one with --name" : ""}`,
  )
}

/** An owner who has changed what is allowed should find in the log what it came to. */
function tellPolicy({ file, policy }: ServeConfig, logger: Logger): void {
  if (isDeepStrictEqual(policy, defaultPolicySettings)) return
  logger.info("policy.loaded", { ...(file === undefined ? {} : { file }), ...new OwnerPolicy(policy).describe() })
}

/** Here, because a gateway can only refuse the whole agent, which then dials again. */
function refuseBadLabels(labels: ServeValues["labels"]): void {
  try {
    checkBody(labelsSchema, labels)
  } catch (error) {
    throw error instanceof InvalidBody ? new UsageError(`--label: ${error.message}`) : error
  }
}
