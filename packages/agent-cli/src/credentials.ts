/** Where credentials come from and where they are kept. Never from an argument or a URL: both are shown by process lists and logs. */
import { mkdir, open } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { TunnelError } from "@trunkline/protocol"
import { replaceFile } from "./replace-file.ts"

/** A gateway secret opens everything; a token what its scopes allow. Both are sent as a bearer. */
export interface Credential {
  readonly kind: "secret" | "token"
  readonly value: string
  /** The flag, variable or file it came from, for messages. */
  readonly source: string
}

/** Where a person may have said which credential to use. */
export interface CredentialPlaces {
  readonly secretFile?: string | undefined
  readonly tokenFile?: string | undefined
  /** Default: the process's own. */
  readonly environment?: NodeJS.ProcessEnv
}

export interface CredentialLookup extends CredentialPlaces {
  /** URL of the gateway it is for. */
  readonly gateway: string
}

/** A credential is a line; a file above this is something else. */
const credentialBytesMax = 4096

/** `trunkline/credentials.json` under the user's config home. */
export const credentialsFile = (environment: NodeJS.ProcessEnv = process.env): string => {
  const { XDG_CONFIG_HOME: configHome } = environment
  return join(configHome !== undefined && isAbsolute(configHome) ? configHome : join(homedir(), ".config"), "trunkline", "credentials.json")
}

/**
 * The credential that was given: `--secret-file` or `--token-file`, else TRUNKLINE_SECRET or TRUNKLINE_TOKEN; undefined when
 * none was. Rejects with `TunnelError`: `bad-request` when two are given at one level, `unauthorised` when the one given is
 * empty, malformed, or readable by others.
 */
export const givenCredential = async (places: CredentialPlaces): Promise<Credential | undefined> => {
  const { secretFile, tokenFile, environment = process.env } = places
  if (secretFile !== undefined && tokenFile !== undefined) {
    throw new TunnelError("bad-request", "--secret-file and --token-file are both given: give one")
  }
  if (secretFile !== undefined) return { kind: "secret", value: await readSecretFile(secretFile), source: `--secret-file ${secretFile}` }
  if (tokenFile !== undefined) return { kind: "token", value: await readSecretFile(tokenFile), source: `--token-file ${tokenFile}` }

  const { TRUNKLINE_SECRET: secret, TRUNKLINE_TOKEN: token } = environment
  if (secret !== undefined && token !== undefined) {
    throw new TunnelError("bad-request", "TRUNKLINE_SECRET and TRUNKLINE_TOKEN are both set: unset one")
  }
  if (secret !== undefined) return { kind: "secret", value: checked(secret, "TRUNKLINE_SECRET"), source: "TRUNKLINE_SECRET" }
  if (token !== undefined) return { kind: "token", value: checked(token, "TRUNKLINE_TOKEN"), source: "TRUNKLINE_TOKEN" }
  return undefined
}

/**
 * The credential for a gateway: the one given, else what is kept for this gateway's URL. Rejects as `givenCredential` does, also of
 * what is kept, and with `unauthorised` when there is none.
 */
export const findCredential = async ({ gateway, ...places }: CredentialLookup): Promise<Credential> => {
  const given = await givenCredential(places)
  if (given !== undefined) return given
  const file = credentialsFile(places.environment)
  const kept = (await readKept(file))[gatewayKey(gateway)]
  if (kept?.secret !== undefined) return { kind: "secret", value: checked(kept.secret, file), source: file }
  if (kept?.token !== undefined) return { kind: "token", value: checked(kept.token, file), source: file }
  throw new TunnelError(
    "unauthorised",
    `no credentials for ${gateway}: give --secret-file FILE or --token-file FILE, or set TRUNKLINE_SECRET or TRUNKLINE_TOKEN; ` +
      `${file} has none for this gateway either (\`trunkline gateway\` writes it for gateways on this machine)`,
  )
}

/** Keeps a gateway's secret for the commands of this user on this machine; returns the file. Other gateways' entries stay. */
export const keepGatewaySecret = async (gateway: string, secret: string, environment: NodeJS.ProcessEnv = process.env): Promise<string> => {
  const file = credentialsFile(environment)
  const gateways = { ...(await readKept(file)), [gatewayKey(gateway)]: { secret } }
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await replaceFile(file, `${JSON.stringify({ gateways }, null, 2)}\n`)
  return file
}

/**
 * Reads one secret from a file, without the white space around it. `owner` refuses a file that the group can read; `not-world`
 * allows the group, as mounted secrets have it. Pipes (`<(pass show …)`) have no mode to check.
 * Rejects with `TunnelError` `unauthorised`; `cause` is the system's error when the file cannot be read.
 */
export const readSecretFile = async (file: string, readers: "owner" | "not-world" = "not-world"): Promise<string> =>
  checked(await readPrivate(file, readers, credentialBytesMax), file)

const readPrivate = async (file: string, readers: "owner" | "not-world", bytesMax: number): Promise<string> => {
  try {
    const handle = await open(file, "r")
    try {
      const stat = await handle.stat()
      const refused = readers === "owner" ? 0o077 : 0o007
      if (stat.isFile() && process.platform !== "win32" && (stat.mode & refused) !== 0) {
        const mode = (stat.mode & 0o777).toString(8).padStart(4, "0")
        throw new TunnelError(
          "unauthorised",
          `${file} can be read by others (mode ${mode}): run chmod 600 on it, and replace the secret if others use this machine`,
        )
      }
      const { bytesRead, buffer } = await readUpTo(handle, bytesMax + 1)
      if (bytesRead > bytesMax)
        throw new TunnelError("unauthorised", `${file} is larger than ${bytesMax} bytes: it is not a file of credentials`)
      return buffer.toString("utf8", 0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof TunnelError) throw error
    throw new TunnelError("unauthorised", `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

/** A pipe gives what its writer has written so far, so one read is not enough. */
const readUpTo = async (handle: Awaited<ReturnType<typeof open>>, bytes: number) => {
  const buffer = Buffer.alloc(bytes)
  let bytesRead = 0
  while (bytesRead < bytes) {
    const read = await handle.read(buffer, bytesRead, bytes - bytesRead, null)
    if (read.bytesRead === 0) break
    bytesRead += read.bytesRead
  }
  return { bytesRead, buffer }
}

const checked = (value: string, source: string): string => {
  const trimmed = value.trim()
  if (trimmed === "") throw new TunnelError("unauthorised", `${source} is empty: it must hold the secret or token`)
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw new TunnelError("unauthorised", `${source} holds white space or characters outside ASCII, so it is not a secret or token`)
  }
  return trimmed
}

interface KeptCredential {
  readonly secret?: string
  readonly token?: string
}

/** Enough for a thousand gateways. */
const credentialsFileBytesMax = 256 * 1024

const readKept = async (file: string): Promise<Record<string, KeptCredential>> => {
  let text: string
  try {
    text = await readPrivate(file, "owner", credentialsFileBytesMax)
  } catch (error) {
    if (error instanceof TunnelError && error.cause instanceof Error && "code" in error.cause && error.cause.code === "ENOENT") return {}
    throw error
  }
  const malformed = (cause?: unknown) =>
    new TunnelError(
      "unauthorised",
      `${file} is not a file of credentials, { "gateways": { "URL": { "secret": "…" } } }: repair or remove it`,
      { cause },
    )
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    throw malformed(error)
  }
  if (!isRecord(document)) throw malformed()
  const { gateways } = document
  if (!isRecord(gateways)) throw malformed()
  const kept: Record<string, KeptCredential> = {}
  for (const [gateway, entry] of Object.entries(gateways)) {
    if (!isRecord(entry)) throw malformed()
    const { secret, token } = entry
    kept[gateway] = { ...(typeof secret === "string" && { secret }), ...(typeof token === "string" && { token }) }
  }
  return kept
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value)

/** One key for every way to write a gateway's URL: its origin, with `http` for `ws`, and the loopback address for `localhost`. */
const gatewayKey = (gateway: string): string => {
  if (!URL.canParse(gateway)) throw new TunnelError("bad-request", `${gateway} is not a URL: a gateway's looks like http://127.0.0.1:8787`)
  const url = new URL(gateway.replace(/^ws/i, "http"))
  if (url.hostname === "localhost") url.hostname = "127.0.0.1"
  return url.origin
}
