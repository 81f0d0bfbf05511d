/** What the owner of an agent lets clients reach, and how long services may take. */
import { limits } from "@trunkline/protocol"
import { formatDuration, parseTimeLimit } from "../duration.ts"
import { readRule } from "../targets/rule.ts"
import { readServicePort, readServiceUrl } from "../targets/service-url.ts"
import { UsageError } from "../usage-error.ts"
import { setting, text } from "./setting.ts"

export const ownerPolicySettings = {
  allow: setting<readonly string[]>({
    flag: "--allow <rule>",
    env: "TRUNKLINE_ALLOW",
    unit: "rule",
    default: [],
    defaultText: "loopback:*",
    help: "what clients may reach from here, as HOST:PORT, CIDR:PORT or unix:PATH, after tcp:, http: or listen: for that use alone; repeatable",
    separator: ",",
    read: readRuleText,
  }),
  deny: setting<readonly string[]>({
    flag: "--deny <rule>",
    env: "TRUNKLINE_DENY",
    unit: "rule",
    default: [],
    defaultText: "nothing",
    help: "what they may not, whatever is allowed; repeatable",
    separator: ",",
    read: readRuleText,
  }),
  service: setting<Readonly<Record<string, string>>>({
    flag: "--service <port=url>",
    env: "TRUNKLINE_SERVICES",
    unit: "PORT=URL",
    default: {},
    defaultText: "plain HTTP at each port of localhost",
    help: "where the HTTP service of that number is: http://, https:// or https+insecure://HOST:PORT, unix:/PATH or unix+tls:/PATH; repeatable",
    separator: ",",
    read: readService,
  }),
  firstByteTimeout: setting<number | undefined>({
    flag: "--first-byte-timeout <duration>",
    env: "TRUNKLINE_FIRST_BYTE_TIMEOUT",
    unit: "duration",
    default: undefined,
    defaultText: formatDuration(limits.httpFirstByteMs),
    help: "how long an HTTP service may take to begin its answer; 0 for no limit",
    read: parseTimeLimit,
  }),
  idleTimeout: setting<number | undefined>({
    flag: "--idle-timeout <duration>",
    env: "TRUNKLINE_IDLE_TIMEOUT",
    unit: "duration",
    default: undefined,
    defaultText: formatDuration(limits.httpIdleMs),
    help: "how long the body of a request or an answer may stand still, event streams aside; 0 for no limit",
    read: parseTimeLimit,
  }),
  config: setting<string | undefined>({
    ...text,
    flag: "--config <file>",
    env: "TRUNKLINE_CONFIG",
    unit: "path",
    defaultText: "trunkline/serve.json in the user's config directory",
    help: "read rules, services and timeouts from this file; the flags add to it",
  }),
}

function readRuleText(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, readRule(value).text]
}

function readService(value: string, previous: Readonly<Record<string, string>>): Record<string, string> {
  const split = value.indexOf("=")
  if (split < 1) throw new UsageError(`"${value}" is not a service: write PORT=URL, as in 8443=https://localhost:8443`)
  const port = readServicePort(value.slice(0, split))
  return { ...previous, [String(port)]: readServiceUrl(value.slice(split + 1)).url }
}
