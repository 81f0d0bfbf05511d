/** What every command that asks a gateway is told: where it is, and where the credential is. */
import { UsageError } from "../usage-error.ts"
import { setting, text } from "./setting.ts"

export const connectionSettings = {
  gateway: setting<URL>({
    flag: "--gateway <url>",
    env: "TRUNKLINE_GATEWAY",
    unit: "URL",
    default: new URL("http://127.0.0.1:8787"),
    defaultText: "http://127.0.0.1:8787",
    help: "the gateway's URL",
    read: readGatewayUrl,
  }),
  secretFile: setting<string | undefined>({
    ...text,
    flag: "--secret-file <file>",
    env: "TRUNKLINE_SECRET_FILE",
    unit: "path",
    help: "read the gateway secret from this file; TRUNKLINE_SECRET holds the secret itself",
    yieldsTo: "tokenFile",
  }),
  tokenFile: setting<string | undefined>({
    ...text,
    flag: "--token-file <file>",
    env: "TRUNKLINE_TOKEN_FILE",
    unit: "path",
    help: "read a token, such as an agent's own key, from this file; TRUNKLINE_TOKEN holds the token itself",
    yieldsTo: "secretFile",
  }),
}

function readGatewayUrl(value: string): URL {
  if (!URL.canParse(value)) throw new UsageError(`"${value}" is not a URL: a gateway's looks like https://gateway.example.com`)
  const url = new URL(value)
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new UsageError(`a gateway's URL starts with http: or https:, not ${url.protocol}`)
  if (url.username !== "" || url.password !== "" || url.search !== "") {
    throw new UsageError("a gateway's URL holds no credentials and no query: give the secret with --secret-file or TRUNKLINE_SECRET")
  }
  return url
}
