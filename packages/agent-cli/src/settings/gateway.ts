/** The settings of `trunkline gateway`. */
import { oneOf, readPort } from "./readers.ts"
import { setting, text } from "./setting.ts"

export const gatewaySettings = {
  port: setting<number>({
    flag: "--port <number>",
    env: "TRUNKLINE_PORT",
    unit: "TCP port",
    default: 8787,
    help: "port to listen on; 0 takes any free one",
    read: readPort,
  }),
  host: setting<string>({
    flag: "--host <address>",
    env: "TRUNKLINE_HOST",
    unit: "address",
    default: "127.0.0.1",
    help: "address to listen on; 0.0.0.0 for every interface",
    read: (value) => value,
  }),
  data: setting<string | undefined>({
    ...text,
    flag: "--data <dir>",
    env: "TRUNKLINE_DATA",
    unit: "path",
    defaultText: "the user's data directory",
    help: "where the gateway keeps its secret and storage",
  }),
  takeover: setting<"replace" | "reject" | undefined>({
    flag: "--takeover <what>",
    env: "TRUNKLINE_TAKEOVER",
    unit: "replace or reject",
    default: undefined,
    defaultText: "replace",
    help: "when a second agent takes a name: replace the first or reject the second",
    choices: ["replace", "reject"],
    read: (value) => oneOf(["replace", "reject"], value),
  }),
  httpDomain: setting<string | undefined>({
    ...text,
    flag: "--http-domain <domain>",
    env: "TRUNKLINE_HTTP_DOMAIN",
    unit: "host name, with a port if it is not the usual one",
    help: "a domain whose wildcard leads here: services are at PORT--NAME.<domain>, as they are below localhost",
  }),
  previousSecretFile: setting<string | undefined>({
    ...text,
    flag: "--previous-secret-file <file>",
    env: "TRUNKLINE_PREVIOUS_SECRET_FILE",
    unit: "path",
    help: "a secret that is still accepted while agents change to the present one",
  }),
}
