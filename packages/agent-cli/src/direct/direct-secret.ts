/** The secret of an agent that is dialled without a gateway, where nobody has given one: made once, in a file only its owner can read. */
import { randomBytes } from "node:crypto"
import { mkdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { type EndpointName, TunnelError } from "@trunkline/protocol"
import { readSecretFile } from "../credentials.ts"
import { defaultDataDirectory } from "../gateway-local/data-directory.ts"
import { replaceFile } from "../replace-file.ts"

/** 256 bits: nobody guesses it. */
const secretBytes = 32

export interface DirectSecret {
  readonly value: string
  readonly file: string
  /** True when this call has made it. */
  readonly created: boolean
}

/** `direct/NAME.secret` beside the data of a gateway on this machine. Rejects with `unauthorised` for one that cannot be used. */
export async function openDirectSecret(name: EndpointName, environment: NodeJS.ProcessEnv = process.env): Promise<DirectSecret> {
  const file = join(dirname(defaultDataDirectory(environment)), "direct", `${name}.secret`)
  try {
    return { value: await readSecretFile(file, "owner"), file, created: false }
  } catch (error) {
    const missing = error instanceof TunnelError && error.cause instanceof Error && "code" in error.cause && error.cause.code === "ENOENT"
    if (!missing) throw error
  }
  const value = randomBytes(secretBytes).toString("base64url")
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await replaceFile(file, `${value}\n`)
  return { value, file, created: true }
}
