/** The commands: what each is called, takes and says in its help. What it does is loaded when it is run. */
import type { Field, Values } from "./config.ts"
import type { Operands } from "./operands.ts"

export interface CommandSpec {
  readonly name: string
  readonly alias?: string
  /** Its one argument, in commander's notation. */
  readonly argument?: { readonly name: string; readonly help: string; readonly choices?: readonly string[] }
  /** What may follow `--`, in words for usage; nothing may when absent. */
  readonly command?: { readonly usage: string; readonly required: boolean }
  readonly summary: string
  readonly description: string
  readonly settings: readonly Field[]
  readonly examples: readonly (readonly [command: string, comment: string])[]
  load(): Promise<CommandModule<Field>>
}

interface CommandModule<F extends Field> {
  /** Resolves to the exit code. */
  run(values: Values<F>, operands: Operands): Promise<number>
}

/** Ties the settings a command declares to those its code reads. */
const command = <F extends Field>(
  spec: Omit<CommandSpec, "settings" | "load"> & { readonly settings: readonly F[]; load(): Promise<CommandModule<F>> },
): CommandSpec => spec

const credentials = ["gateway", "secretFile", "tokenFile"] as const
const agentName = { name: "<name>", help: "the agent's name, as `trunkline ls` shows it" }

export const commands: readonly CommandSpec[] = [
  command({
    name: "gateway",
    summary: "run a gateway on this machine",
    description:
      "Runs the gateway, the same Worker bundle as at the edge, on this machine. Prints its URL. " +
      "The first run makes its secret, in a file that only you can read.",
    settings: ["port", "host", "data", "takeover", "previousSecretFile", "output"],
    examples: [
      ["trunkline gateway", "on 127.0.0.1:8787, storage in your data directory"],
      ["trunkline gateway --host 0.0.0.0 --data /var/lib/trunkline", "for other machines"],
      ["trunkline gateway --port 0 --data ./scratch", "on any free port"],
    ],
    load: () => import("./commands/gateway.ts"),
  }),
  command({
    name: "serve",
    summary: "make this machine reachable: run the agent",
    description:
      "Runs the agent: dials out to the gateway, stays connected, and runs what authorised clients ask for, as the user who started it. " +
      "The first Ctrl-C or SIGTERM lets running commands finish, then leaves the listing; a second one stops at once.",
    settings: ["name", ...credentials, "labels", "gracePeriod", "logLevel", "logFormat"],
    examples: [
      ["trunkline serve", "under this machine's host name, to the gateway on this machine"],
      ["trunkline serve --name build-7 --label os=linux --label role=ci", ""],
      ["trunkline serve --gateway https://gateway.example.com --secret-file ~/gateway.secret", ""],
    ],
    load: () => import("./commands/serve.ts"),
  }),
  command({
    name: "ls",
    alias: "endpoints",
    summary: "list the endpoints",
    description: "Lists the endpoints that the gateway knows, with their status.",
    settings: [...credentials, "labelFilter", "status", "watch", "listOutput"],
    examples: [
      ["trunkline ls", ""],
      ["trunkline ls --label role=ci --status online -o name", "names alone, for scripts"],
      ["trunkline ls --watch", ""],
    ],
    load: () => import("./commands/ls.ts"),
  }),
  command({
    name: "info",
    argument: agentName,
    summary: "show one endpoint",
    description: "Shows one endpoint: its status, machine, versions, labels, and the round trip to its agent.",
    settings: [...credentials, "output"],
    examples: [
      ["trunkline info build-7", ""],
      ["trunkline info build-7 -o json", ""],
    ],
    load: () => import("./commands/info.ts"),
  }),
  command({
    name: "exec",
    argument: agentName,
    command: { usage: "<command> [args...]", required: true },
    summary: "run a command on an agent",
    description:
      "Runs a program with these arguments, without a shell, and exits with its exit code. stdout and stderr stay apart. " +
      "Exit codes of our own: 124 time is up, 126 cannot be run, 127 not found, 128 + n ended by signal n, 2 usage, " +
      "255 link, gateway or unknown outcome. " +
      "The first Ctrl-C is sent to the command; a second one leaves.",
    settings: ["interactive", "tty", "detach", "env", "workdir", "timeout", "output", ...credentials],
    examples: [
      ["trunkline exec build-7 -- uname -a", ""],
      ["trunkline exec build-7 -w /srv/app -e CI=1 --timeout 5m -- make test", ""],
      ["tar c src | trunkline exec build-7 -i -- tar x -C /tmp", "stdin goes along with -i alone"],
      ["trunkline exec build-7 -it -- vim notes.txt", "on a terminal"],
      ["trunkline exec build-7 -- sh -c 'ls | wc -l'", "pipes need a shell"],
    ],
    load: () => import("./commands/exec.ts"),
  }),
  command({
    name: "shell",
    argument: agentName,
    command: { usage: "<command> [args...]", required: false },
    summary: "open a terminal on an agent",
    description:
      "Opens a terminal with the agent user's login shell, or with the command given, and exits with its exit code. " +
      "After Enter, ~. leaves, ~^Z suspends trunkline, ~? lists these keys, and ~~ types one tilde.",
    settings: credentials,
    examples: [
      ["trunkline shell build-7", ""],
      ["trunkline shell build-7 -- htop", "a program instead of the login shell"],
    ],
    load: () => import("./commands/shell.ts"),
  }),
  command({
    name: "version",
    summary: "print the version",
    description: "Prints the version of trunkline.",
    settings: ["output"],
    examples: [
      ["trunkline version", ""],
      ["trunkline version -o json", "with the versions of what it runs on"],
    ],
    load: () => import("./commands/version.ts"),
  }),
  command({
    name: "completion",
    argument: { name: "<shell>", help: "bash, zsh or fish", choices: ["bash", "zsh", "fish"] },
    summary: "print a completion script",
    description: "Prints the script that completes trunkline's commands, options and agent names in your shell.",
    settings: [],
    examples: [
      ['eval "$(trunkline completion bash)"', "in ~/.bashrc"],
      ["trunkline completion zsh > ~/.zfunc/_trunkline", "in a directory of $fpath"],
      ["trunkline completion fish > ~/.config/fish/completions/trunkline.fish", ""],
    ],
    load: () => import("./commands/completion.ts"),
  }),
]
