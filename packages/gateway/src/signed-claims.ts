/** Claims that the gateway gives away and believes when they come back: `<claims>.<mac>` in base64url, made with its secret. */
import { equalBytes, hmac, type Secrets } from "./auth.ts"
import { base64UrlDecode, base64UrlEncode } from "./base64url.ts"

/** `purpose` keeps one sort of claims from being taken for another. */
export async function signed(secrets: Secrets, purpose: string, claims: object): Promise<string> {
  const payload = base64UrlEncode(new TextEncoder().encode(JSON.stringify(claims)))
  return `${payload}.${base64UrlEncode(await hmac(secrets[0], `${purpose}:${payload}`))}`
}

/** Undefined for what was not made here for this purpose. The claims have the shape they were given. */
export async function readSigned<Claims>(secrets: Secrets, purpose: string, text: string): Promise<Claims | undefined> {
  const [payload = "", mac = "", ...rest] = text.split(".")
  const presented = base64UrlDecode(mac)
  const expected = await Promise.all(secrets.map((secret) => hmac(secret, `${purpose}:${payload}`)))
  const genuine = presented !== undefined && expected.map((bytes) => equalBytes(bytes, presented)).includes(true)
  const json = base64UrlDecode(payload)
  if (!genuine || rest.length > 0 || json === undefined) return undefined
  return JSON.parse(new TextDecoder().decode(json)) as Claims
}
