/** The commands: what each is called, takes and says in its help. What it does is loaded when it is run. */
import type { Field, Values } from "./config.ts"
import type { Operands } from "./operands.ts"

interface ArgumentSpec {
  /** In commander's notation. */
  readonly name: string
  readonly help: string
  readonly choices?: readonly string[]
}

export interface CommandSpec {
  readonly name: string
  readonly alias?: string
  /** At most a name and a process id. */
  readonly arguments: readonly ArgumentSpec[]
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
const agentName: ArgumentSpec = { name: "<name>", help: "the agent's name, as `trunkline ls` shows it" }
const processId: ArgumentSpec = { name: "<id>", help: "the process's id, as `trunkline ps` shows it" }

export const commands: readonly CommandSpec[] = [
  command({
    name: "gateway",
    arguments: [],
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
    arguments: [],
    summary: "make this machine reachable: run the agent",
    description:
      "Runs the agent: dials out to the gateway, stays connected, and runs what authorised clients ask for, as the user who started it. " +
      "The first Ctrl-C or SIGTERM lets running commands finish, then leaves the listing; a second one stops at once.",
    settings: ["name", ...credentials, "labels", "gracePeriod", "journalBytes", "keepEnded", "logLevel", "logFormat"],
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
    arguments: [],
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
    arguments: [agentName],
    summary: "show one endpoint",
    description: "Shows one endpoint: its status, machine, versions, labels, how many processes run, and the round trip to its agent.",
    settings: [...credentials, "output"],
    examples: [
      ["trunkline info build-7", ""],
      ["trunkline info build-7 -o json", ""],
    ],
    load: () => import("./commands/info.ts"),
  }),
  command({
    name: "exec",
    arguments: [agentName],
    command: { usage: "<command> [args...]", required: true },
    summary: "run a command on an agent",
    description:
      "Runs a program with these arguments, without a shell, and exits with its exit code. stdout and stderr stay apart. " +
      "Exit codes of our own: 124 time is up, 126 cannot be run, 127 not found, 128 + n ended by signal n, 2 usage, " +
      "255 link, gateway or unknown outcome. " +
      "The first Ctrl-C is sent to the command; a second one leaves. " +
      "With -d the command goes on without us: ps lists it, attach comes back to it, kill ends it. " +
      "Output that has a gap is never exit 0.",
    settings: ["interactive", "tty", "detach", "env", "workdir", "timeout", "idempotencyKey", "output", ...credentials],
    examples: [
      ["trunkline exec build-7 -- uname -a", ""],
      ["trunkline exec build-7 -w /srv/app -e CI=1 --timeout 5m -- make test", ""],
      ["tar c src | trunkline exec build-7 -i -- tar x -C /tmp", "stdin goes along with -i alone"],
      ["trunkline exec build-7 -it -- vim notes.txt", "on a terminal"],
      ["trunkline exec build-7 -- sh -c 'ls | wc -l'", "pipes need a shell"],
      ["trunkline exec build-7 -d -- make release", "prints an id; then trunkline attach build-7 ID"],
      ["trunkline exec build-7 --idempotency-key deploy-42 -- ./deploy", "runs once, however often it is sent"],
    ],
    load: () => import("./commands/exec.ts"),
  }),
  command({
    name: "shell",
    arguments: [agentName],
    command: { usage: "<command> [args...]", required: false },
    summary: "open a terminal on an agent",
    description:
      "Opens a terminal with the agent user's login shell, or with the command given, and exits with its exit code. " +
      "After Enter, ~. leaves and hangs it up, ~d detaches and leaves it running, ~^Z suspends trunkline, ~? lists these keys, and ~~ types " +
      "one tilde. A terminal whose client was lost stays as well; --session comes back to it, with its screen. Where several share one it " +
      "has the size of the window that typed last; in a smaller one it looks cut until that types.",
    settings: ["session", ...credentials],
    examples: [
      ["trunkline shell build-7", ""],
      ["trunkline shell build-7 -- htop", "a program instead of the login shell"],
      ["trunkline shell build-7 --session 5f1c0a9be2d4", "back to one that was detached or lost"],
    ],
    load: () => import("./commands/shell.ts"),
  }),
  command({
    name: "ps",
    arguments: [agentName],
    summary: "list the processes on an agent",
    description:
      "Lists the processes that run on the agent and those that ended a while ago, oldest first: commands and terminals, whoever started " +
      "them. OUTPUT counts the bytes each has written, ATTACHED the clients that see it.",
    settings: ["processListOutput", ...credentials],
    examples: [
      ["trunkline ps build-7", ""],
      ["trunkline ps build-7 -o id", "ids alone, for scripts"],
      ["trunkline ps build-7 -o json", ""],
    ],
    load: () => import("./commands/ps.ts"),
  }),
  command({
    name: "attach",
    arguments: [agentName, processId],
    summary: "come back to a process",
    description:
      "Shows a process that runs on the agent, or that ended a while ago, and exits with its exit code. Of a command: the output that is " +
      "kept, then what follows, stdout and stderr apart; a gap behind where you began is said and is never exit 0. Ctrl-C leaves. Of a " +
      "terminal: its screen, and keys go there; after Enter, ~. leaves and ~? lists the other keys that do not. The process goes on when " +
      "you leave.",
    settings: ["passInput", "readOnly", "from", "output", ...credentials],
    examples: [
      ["trunkline attach build-7 5f1c0a9be2d4", ""],
      ["trunkline attach build-7 5f1c0a9be2d4 --from 81920", "all from this byte on, or an error"],
      ["trunkline attach build-7 5f1c0a9be2d4 --read-only", "watch somebody's terminal"],
    ],
    load: () => import("./commands/attach.ts"),
  }),
  command({
    name: "kill",
    arguments: [agentName, processId],
    summary: "send a signal to a process",
    description: "Sends a signal to a process on the agent, and to its whole process group. Says nothing when it was sent.",
    settings: ["signal", ...credentials],
    examples: [
      ["trunkline kill build-7 5f1c0a9be2d4", "asks it to end"],
      ["trunkline kill build-7 5f1c0a9be2d4 -s KILL", ""],
    ],
    load: () => import("./commands/kill.ts"),
  }),
  command({
    name: "version",
    arguments: [],
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
    arguments: [{ name: "<shell>", help: "bash, zsh or fish", choices: ["bash", "zsh", "fish"] }],
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
