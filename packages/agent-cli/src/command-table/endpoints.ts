/** The commands that show endpoints. */
import { agentName, type CommandSpec, command, credentials } from "./command-spec.ts"

export const endpointCommands: readonly CommandSpec[] = [
  command({
    name: "ls",
    alias: "endpoints",
    arguments: [],
    summary: "list the endpoints",
    description: "Lists the endpoints that the gateway knows, with their status.",
    settings: [...credentials, "labelFilter", "status", "watch", "listOutput"],
    examples: [
      ["trunkline ls", ""],
      ["trunkline ls --label role=ci --status online -o name", "names alone, for scripts"],
      ["trunkline ls --watch", ""],
    ],
    load: () => import("../commands/ls.ts"),
  }),
  command({
    name: "info",
    arguments: [agentName],
    summary: "show one endpoint",
    description: "Shows one endpoint: its status, machine, versions, labels, how many processes run, and the round trip to its agent.",
    settings: [...credentials, "output"],
    examples: [
      ["trunkline info build-7", ""],
      ["trunkline info build-7 -o json", ""],
    ],
    load: () => import("../commands/info.ts"),
  }),
]
