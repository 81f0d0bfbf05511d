/** The gateway's own secret: made once, in a file only its owner can read, and read on every later start. */
import { randomBytes } from "node:crypto"
import { readSecretFile } from "../credentials.ts"
import { errnoOf, sentenceOf } from "../errno.ts"
import { replaceFile } from "../replace-file.ts"
import { type DataDirectory, directoryError } from "./data-directory.ts"
import { GatewayStartError } from "./gateway-start-error.ts"

/** 256 bits: nobody guesses it, and it is a valid key for the agents' derived keys. */
const secretBytes = 32

export interface GatewaySecret {
  readonly value: string
  /** True when this call has made it. */
  readonly created: boolean
}

/**
 * Call while holding the data lock: two first starts at once would each make one.
 * Rejects with `GatewayStartError` `secret-unusable` for a file that is empty, malformed, or readable by others.
 */
export const openSecret = async (directory: DataDirectory): Promise<GatewaySecret> => {
  try {
    return { value: await readSecretFile(directory.secretFile, "owner"), created: false }
  } catch (error) {
    const missing = error instanceof Error && errnoOf(error.cause) === "ENOENT"
    if (!missing) throw new GatewayStartError("secret-unusable", `the gateway's secret cannot be used: ${sentenceOf(error)}`, error)
  }
  const value = randomBytes(secretBytes).toString("base64url")
  try {
    await replaceFile(directory.secretFile, `${value}\n`)
  } catch (error) {
    throw directoryError(directory.path, error)
  }
  return { value, created: true }
}
