/** The policy as the owner writes it down for `serve`: in a file, and in flags that add to it. */
import { readFile } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import * as v from "valibot"
import { credentialsFile } from "./credentials.ts"
import { parseTimeLimit } from "./duration.ts"
import type { Values } from "./settings/settings.ts"
import { defaultPolicySettings, type PolicySettings } from "./targets/policy-settings.ts"
import { readRule } from "./targets/rule.ts"
import { readServicePort, readServiceUrl } from "./targets/service-url.ts"
import { UsageError } from "./usage-error.ts"

export type PolicyValues = Values<"config" | "allow" | "deny" | "service" | "firstByteTimeout" | "idleTimeout">

export interface ServeConfig {
  /** The file that was read; undefined where there is none. */
  readonly file: string | undefined
  readonly policy: PolicySettings
}

/** `trunkline/serve.json` under the user's config home. */
const usualFile = (environment: NodeJS.ProcessEnv): string => join(dirname(credentialsFile(environment)), "serve.json")

/** Rejects with UsageError that names everything that is wrong in the file, or why it cannot be read. The usual one may be absent. */
export async function readServeConfig(values: PolicyValues, environment: NodeJS.ProcessEnv = process.env): Promise<ServeConfig> {
  const file = values.config === undefined ? usualFile(environment) : resolve(values.config)
  const text = await readText(file, values.config === undefined)
  const written: ConfigFile = text === undefined ? v.parse(configSchema, {}) : readConfig(file, text)
  return {
    file: text === undefined ? undefined : file,
    policy: {
      allow: [...written.allow, ...values.allow],
      deny: [...written.deny, ...values.deny],
      services: { ...written.services, ...values.service },
      firstByteMs: values.firstByteTimeout ?? written.firstByteTimeout ?? defaultPolicySettings.firstByteMs,
      idleMs: values.idleTimeout ?? written.idleTimeout ?? defaultPolicySettings.idleMs,
    },
  }
}

async function readText(file: string, mayBeAbsent: boolean): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).replace(/^\uFEFF/, "")
  } catch (error) {
    if (mayBeAbsent && error instanceof Error && "code" in error && error.code === "ENOENT") return undefined
    throw new UsageError(`the config file cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** What `read` refuses with UsageError is an issue of the schema. */
const readable = (read: (text: string) => unknown) =>
  v.rawCheck<string>(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    try {
      read(dataset.value)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      addIssue({ message: error.message })
    }
  })

const rules = v.array(
  v.pipe(v.string('write a rule in quotes, such as "db.internal:5432"'), readable(readRule)),
  'write a list of rules, such as ["loopback:*", "db.internal:5432"]',
)
const timeLimit = v.pipe(
  v.string('write a duration in quotes, such as "30s", or "0" for no limit'),
  readable(parseTimeLimit),
  v.transform(parseTimeLimit),
)
const services = v.record(
  v.pipe(v.string(), readable(readServicePort)),
  v.pipe(v.string('write a URL in quotes, such as "https://localhost:8443"'), readable(readServiceUrl)),
  'write URLs by port, such as { "8443": "https://localhost:8443" }',
)
const fields = {
  allow: v.optional(rules, []),
  deny: v.optional(rules, []),
  services: v.optional(services, {}),
  firstByteTimeout: v.optional(timeLimit),
  idleTimeout: v.optional(timeLimit),
}
const configSchema = v.pipe(
  v.custom<object>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    `the file holds no object: write { "allow": [] } or another of ${Object.keys(fields).join(", ")}`,
  ),
  v.objectWithRest(fields, v.never(`there is no such field; there are ${Object.keys(fields).join(", ")}`)),
)
type ConfigFile = v.InferOutput<typeof configSchema>

function readConfig(file: string, text: string): ConfigFile {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${file} is not JSON, which has no comments and no comma before a closing bracket: ${reason}`)
  }
  const result = v.safeParse(configSchema, document)
  if (result.success) return result.output
  const problems = result.issues.map((issue) => [placeOf(issue), issue.message].filter((part) => part !== "").join(": "))
  throw new UsageError(problems.map((problem) => `${file}: ${problem}`).join("\n"))
}

/** `allow[1]`, `services.8443`; "" for the whole file. */
const placeOf = ({ path }: v.BaseIssue<unknown>): string =>
  (path ?? [])
    .map(({ key }) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "")
