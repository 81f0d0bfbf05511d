/** The commands that start, show, come back to and end processes at an agent. */
import { type ArgumentSpec, agentName, type CommandSpec, command, credentials } from "./command-spec.ts"

const processId: ArgumentSpec = { name: "<id>", help: "the process's id, as `trunkline ps` shows it" }

export const processCommands: readonly CommandSpec[] = [
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
    load: () => import("../commands/exec.ts"),
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
    load: () => import("../commands/shell.ts"),
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
    load: () => import("../commands/ps.ts"),
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
    load: () => import("../commands/attach.ts"),
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
    load: () => import("../commands/kill.ts"),
  }),
]
