/** A gateway on this machine: the Worker bundle in workerd, its storage, secret, address and limits, from start to stop. */
import { once } from "node:events"
import { realpathSync, writeFileSync } from "node:fs"
import { request as httpRequest, type IncomingMessage } from "node:http"
import { basename, dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { sentenceOf } from "../errno.ts"
import { type DataDirectory, defaultDataDirectory, directoryError, openDataDirectory } from "./data-directory.ts"
import { lockDataDirectory } from "./data-lock.ts"
import { GatewayStartError } from "./gateway-start-error.ts"
import { formatAddress, localUrl, proveFree } from "./listen-address.ts"
import { agentsMaxOf, openFilesMax } from "./process-table.ts"
import { openSecret } from "./secret-file.ts"
import { type TextBinding, textBindingNames, workerdConfig } from "./workerd-config.ts"
import { launchWorkerd, type WorkerdExit } from "./workerd-process.ts"

export interface GatewayOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 8787; 0 takes any free one. */
  readonly port?: number
  readonly dataDirectory?: string
  /** The Worker bundle; default: that of `@trunkline/gateway`. */
  readonly bundle?: string
  /** A secret that is still accepted while agents change to the present one. */
  readonly previousSecret?: string
  /** What happens when a second agent takes a name; default: the gateway's own, replace. */
  readonly takeover?: "replace" | "reject"
  /** The domain whose hosts are services of agents, besides `localhost`. */
  readonly httpDomain?: string
  /** How long `stop` may take; default 2,000 ms. */
  readonly graceMs?: number
  /** Every line that workerd prints, without its line end. */
  readonly onOutput?: (line: string) => void
}

export interface RunningGateway {
  /** Where this machine reaches it. */
  readonly url: string
  readonly port: number
  /** Of workerd. */
  readonly pid: number
  /** How many agents the limit on open files allows; `Infinity` where there is no limit. */
  readonly agentsMax: number
  readonly dataDirectory: string
  /** Holds the gateway's secret, mode 0600. */
  readonly secretFile: string
  /** True when this start has made the secret. */
  readonly secretCreated: boolean
  /** Resolves, never rejects, once workerd has ended and the data directory is free again. */
  readonly exited: Promise<WorkerdExit>
  /** Closes every socket with 1012, then ends workerd; by force when the grace is over. Idempotent, never rejects. */
  stop(): Promise<void>
}

const defaultGraceMs = 2_000
/** Of the grace, for closing the sockets; workerd itself ends within milliseconds once they are closed. */
const drainShare = 0.9

/**
 * Resolves once the gateway accepts connections. Rejects with `GatewayStartError`, leaving nothing running.
 * A caller that ends without `stop` takes workerd with it, by SIGKILL; the storage survives that.
 */
export const startGateway = async (options: GatewayOptions = {}): Promise<RunningGateway> => {
  const { host = "127.0.0.1", port = 8787, graceMs = defaultGraceMs } = options
  const bundle = resolveBundle(options.bundle)
  const directory = await openDataDirectory(options.dataDirectory ?? defaultDataDirectory())
  const lock = await lockDataDirectory(directory)
  try {
    // After the lock, which ends an orphaned workerd that may hold the address.
    await proveFree(host, port)
    const [secret, openFiles] = await Promise.all([openSecret(directory), openFilesMax()])
    const text: Partial<Record<TextBinding, string>> = {
      GATEWAY_SECRET: secret.value,
      ...(options.previousSecret !== undefined && { GATEWAY_SECRET_PREVIOUS: options.previousSecret }),
      ...(options.takeover !== undefined && { TAKEOVER: options.takeover }),
      ...(options.httpDomain !== undefined && { HTTP_DOMAIN: options.httpDomain }),
    }
    writeConfig(directory, formatAddress(host, port), bundle, text)
    const workerd = launchWorkerd({
      configFile: directory.configFile,
      importPath: dirname(bundle),
      environment: { ...certificateVariables(), ...text },
      onOutput: options.onOutput,
      onSpawn: lock.recordWorkerd,
    })
    const exited = workerd.exited.finally(lock.release)
    const readyPort = await workerd.port
    const url = localUrl(host, readyPort)
    let stopped: Promise<void> | undefined
    const stop = async (): Promise<void> => {
      await workerd.stop(() => drain(url, secret.value, graceMs * drainShare), graceMs)
      await exited
    }
    return {
      url,
      port: readyPort,
      pid: workerd.pid,
      agentsMax: agentsMaxOf(openFiles),
      dataDirectory: directory.path,
      secretFile: directory.secretFile,
      secretCreated: secret.created,
      exited,
      stop() {
        stopped ??= stop()
        return stopped
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

const writeConfig = (directory: DataDirectory, address: string, bundle: string, text: Partial<Record<TextBinding, string>>): void => {
  const config = workerdConfig({
    address,
    bundleName: basename(bundle),
    objectsDirectory: directory.objects,
    kvIndexDirectory: directory.kvIndex,
    kvBlobsDirectory: directory.kvBlobs,
    textBindings: textBindingNames.filter((name) => text[name] !== undefined),
  })
  try {
    writeFileSync(directory.configFile, config, { mode: 0o600 })
  } catch (error) {
    throw directoryError(directory.path, error)
  }
}

/**
 * Asks the gateway to close all its sockets with 1012, so that agents and clients redial. One that cannot do it is stopped all the same.
 * Over a connection of its own: the shared agent may be set to a proxy, which must not see the secret.
 */
const drain = async (url: string, secret: string, timeoutMs: number): Promise<void> => {
  try {
    const request = httpRequest(`${url}/v1/admin/drain`, {
      method: "POST",
      agent: false,
      headers: { authorization: `Bearer ${secret}` },
      signal: AbortSignal.timeout(timeoutMs),
    })
    request.end()
    const [response]: IncomingMessage[] = await once(request, "response")
    response?.resume()
    if (response !== undefined) await once(response, "end")
  } catch {}
}

/** The only part of our environment that workerd gets besides the bindings: where a company keeps its root certificates. */
const certificateVariables = (): NodeJS.ProcessEnv => {
  const { SSL_CERT_FILE, SSL_CERT_DIR } = process.env
  return { ...(SSL_CERT_FILE !== undefined && { SSL_CERT_FILE }), ...(SSL_CERT_DIR !== undefined && { SSL_CERT_DIR }) }
}

/** Resolved through symbolic links: packages are often links, and workerd reads the real file. */
const resolveBundle = (bundle: string | undefined): string => {
  try {
    return realpathSync(bundle ?? fileURLToPath(import.meta.resolve("@trunkline/gateway/bundle")))
  } catch (error) {
    throw new GatewayStartError(
      "bundle-missing",
      `the gateway's bundle is missing (${sentenceOf(error)}): run \`pnpm build\`, or reinstall trunkline`,
      error,
    )
  }
}
