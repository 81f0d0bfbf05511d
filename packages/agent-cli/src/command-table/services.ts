/** The commands that lead to what listens at an agent, or from there to here. */
import { type ArgumentSpec, agentName, type CommandSpec, command, credentials } from "./command-spec.ts"

const forwards: ArgumentSpec = { name: "[forward...]", help: "[BIND:]PORT[:HOST:PORT], or paths of unix sockets" }

export const serviceCommands: readonly CommandSpec[] = [
  command({
    name: "forward",
    arguments: [agentName, forwards],
    summary: "reach what an agent can reach, from ports of this machine",
    description:
      "Listens here and has the agent make the connections: 5432 leads to localhost:5432 there, 8080:3000 to localhost:3000, " +
      "5433:db.internal:5432 to another machine, and a path is a unix socket. Port 0 takes any free one. -R listens at the agent and connects " +
      "here, -D is a SOCKS5 proxy whose connections the agent makes. Others than this machine can connect only where BIND says so: an address, " +
      "or * for all. Runs until Ctrl-C, which ends with 0; open connections get 5 s, and a second one ends at once. stdout has the addresses, " +
      "a line each, when it is not a terminal.",
    settings: ["localForwards", "reverseForwards", "socksListeners", "output", ...credentials],
    examples: [
      ["trunkline forward build-7 5432", "psql -h localhost reaches the database there"],
      ["trunkline forward build-7 8080:3000 5433:db.internal:5432", "several at once"],
      ["trunkline forward build-7 /tmp/pg/.s.PGSQL.5432:/var/run/postgresql/.s.PGSQL.5432", "unix sockets"],
      ["trunkline forward build-7 -R 9000:localhost:3000", "port 9000 there leads to port 3000 here"],
      ["trunkline forward build-7 -D 1080", "then curl --proxy socks5h://localhost:1080 http://intranet/"],
    ],
    load: () => import("../commands/forward.ts"),
  }),
  command({
    name: "connect",
    arguments: [agentName, { name: "<target>", help: "[HOST:]PORT as the agent sees it, or the path of a unix socket there" }],
    summary: "connect stdin and stdout to a port at an agent",
    description:
      "Has the agent connect to a TCP port, of its own machine unless a host is given, or to a unix socket, and passes bytes: stdin there, " +
      "stdout back, the end of each on its own. stdout has nothing else. Exits with 0 when both have ended, with 255 when the connection " +
      "is refused or broken off. A cut of the network is waited out.",
    settings: [...credentials],
    examples: [
      ["trunkline connect build-7 5432", ""],
      ["ssh me@build-7 -o 'ProxyCommand trunkline connect build-7 22'", "trunkline ssh-config writes this down"],
      ["trunkline connect build-7 db.internal:6379", "a machine that the agent reaches"],
      ["trunkline connect build-7 /var/run/docker.sock", "a unix socket"],
    ],
    load: () => import("../commands/connect.ts"),
  }),
  command({
    name: "ssh-config",
    arguments: [agentName],
    summary: "let ssh, scp, sftp and rsync reach an agent by its name",
    description:
      "Prints what ~/.ssh/config needs for ssh NAME to reach the agent's sshd. --write puts it at the top of that file, between two marked " +
      "lines, in place of what it wrote before; --remove takes it away and leaves the rest to the byte. No credential is written.",
    settings: ["writeSshConfig", "removeSshConfig", "sshUser", "sshPort", "hostAlias", ...credentials],
    examples: [
      ["trunkline ssh-config build-7 --write", "then ssh build-7, scp file build-7: and the like"],
      ["trunkline ssh-config build-7 --write --user deploy --port 2222", ""],
      ["trunkline ssh-config build-7", "prints it"],
      ["trunkline ssh-config build-7 --remove", ""],
    ],
    load: () => import("../commands/ssh-config.ts"),
  }),
  command({
    name: "http",
    arguments: [agentName, { name: "<port>", help: "the port of the HTTP service at the agent" }],
    summary: "show the URLs of an agent's HTTP service",
    description:
      "Prints the URLs at which an HTTP service of the agent's machine is reached through the gateway: one for programs, with a line for " +
      "curl, and where the gateway has a domain for services, one for browsers with a link that signs one in. Warns when the service does " +
      "not answer now.",
    settings: ["output", ...credentials],
    examples: [
      ["trunkline http build-7 3000", ""],
      ["trunkline http build-7 3000 -o json", ""],
    ],
    load: () => import("../commands/http.ts"),
  }),
]
