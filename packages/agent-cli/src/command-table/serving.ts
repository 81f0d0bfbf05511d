/** The commands that make a machine reachable: the two that stay, and what shows the rules of one of them. */
import { type CommandSpec, command, credentials } from "./command-spec.ts"

const policy = ["config", "allow", "deny", "service", "firstByteTimeout", "idleTimeout"] as const
const ways = ["tunnelUrl", "withSocket", "noTunnel", "listen"] as const

export const servingCommands: readonly CommandSpec[] = [
  command({
    name: "gateway",
    arguments: [],
    summary: "run a gateway on this machine",
    description:
      "Runs the gateway, the same Worker bundle as at the edge, on this machine. Prints its URL. " +
      "The first run makes its secret, in a file that only you can read.",
    settings: ["port", "host", "data", "takeover", "httpDomain", "previousSecretFile", "output"],
    examples: [
      ["trunkline gateway", "on 127.0.0.1:8787, storage in your data directory"],
      ["trunkline gateway --host 0.0.0.0 --data /var/lib/trunkline", "for other machines"],
      ["trunkline gateway --port 0 --data ./scratch", "on any free port"],
    ],
    load: () => import("../commands/gateway.ts"),
  }),
  command({
    name: "serve",
    arguments: [],
    summary: "make this machine reachable: run the agent",
    description:
      "Runs the agent: dials out to the gateway, stays connected, and runs what authorised clients ask for, as the user who started it. " +
      "The first Ctrl-C or SIGTERM lets running commands finish, then leaves the listing; a second one stops at once. " +
      "Ports of this machine's loopback can be reached, and nothing else, unless --allow and --deny or the config file say so; " +
      "`trunkline config check` shows what they come to. " +
      "With --tunnel-url or --no-tunnel it listens instead of dialling out.",
    settings: ["name", ...credentials, ...ways, ...policy, "labels", "gracePeriod", "journalBytes", "keepEnded", "logLevel", "logFormat"],
    examples: [
      ["trunkline serve", "under this machine's host name, to the gateway on this machine"],
      ["trunkline serve --name build-7 --label os=linux --label role=ci", ""],
      ["trunkline serve --gateway https://gateway.example.com --secret-file ~/gateway.secret", ""],
      ["trunkline serve --tunnel-url https://build-7.example.com", "something else publishes 127.0.0.1:7860 there"],
      ["trunkline serve --no-tunnel --listen 0.0.0.0:7860", "without a gateway: exec with --gateway http://THIS-HOST:7860"],
      ["trunkline serve --allow 5432 --allow db.internal:5432 --deny tcp:22", "one port here and one place elsewhere"],
    ],
    load: () => import("../commands/serve.ts"),
  }),
  command({
    name: "config",
    arguments: [
      { name: "<check>", help: "check: read it as serve would, and show what is in force", choices: ["check"] },
      { name: "[file]", help: "the file, if it is not the one that serve would read" },
    ],
    summary: "check the owner's config file and show what is in force",
    description:
      "Reads the config file and the flags as serve would, and shows what clients may reach. Names everything that is wrong, and then exits " +
      "with 2. Asks nobody: no gateway, no resolver.",
    settings: [...policy, "output"],
    examples: [
      ["trunkline config check", "what a plain serve would allow"],
      ["trunkline config check serve.json -o json", ""],
      ["trunkline config check --allow 10.0.0.0/8:443", "with this flag"],
    ],
    load: () => import("../commands/config-check.ts"),
  }),
]
