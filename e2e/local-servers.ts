/** Servers nobody here wrote, on free ports of loopback and in folders of their own: what an agent's machine runs. */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, globSync } from "node:fs"
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { promisify } from "node:util"
import { freePort } from "./free-port.ts"

export const execute = promisify(execFile)

export interface LocalServer {
  readonly port: number
  /** Where it keeps what it keeps. */
  readonly folder: string
  stop(): Promise<void>
}

/** Where Debian has it: servers are not in everybody's PATH. */
function program(name: string): string {
  const found = ["/usr/sbin", "/usr/bin", ...globSync("/usr/lib/postgresql/*/bin")]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${name} is not installed: \`pnpm test\` installs what the tests need`)
  return found
}

interface Account {
  readonly uid: number
  readonly gid: number
}

/** Resolves when the port takes connections; rejects with what the server printed if it ends before. */
async function running(child: ChildProcess, port: number, folder: string): Promise<LocalServer> {
  let printed = ""
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (printed += chunk.toString()))
  const ended = once(child, "exit")
  while (!(await takes(port))) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${child.spawnfile} ended: ${printed}`)
    await pause(20)
  }
  return {
    port,
    folder,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        // For all of them: stop now, workers and sessions included.
        child.kill("SIGINT")
        await ended
      }
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

function takes(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false))
    socket.on("connect", () => socket.destroy())
  })
}

const folderFor = (name: string): Promise<string> => mkdtemp(join(tmpdir(), `trunkline-${name}-`))

export interface Sshd extends LocalServer {
  readonly user: string
  /** Options of ssh, scp and sftp that make them know this server and be let in, and know nothing else. */
  readonly options: readonly string[]
}

/** An sshd that lets the present user in by a key. `name` is what clients will call the machine. */
export async function startSshd(name: string): Promise<Sshd> {
  const folder = await folderFor("sshd")
  const port = await freePort()
  const [hostKey, userKey] = [join(folder, "host_key"), join(folder, "user_key")]
  for (const key of [hostKey, userKey]) await execute("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key])
  await writeFile(join(folder, "authorized_keys"), await readFile(`${userKey}.pub`))
  await writeFile(join(folder, "known_hosts"), `${name} ${await readFile(`${hostKey}.pub`, "utf8")}`)
  await writeFile(
    join(folder, "sshd_config"),
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${join(folder, "authorized_keys")}`,
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "PasswordAuthentication no",
      "PermitRootLogin yes",
      "MaxStartups 200",
      "MaxSessions 200",
      "Subsystem sftp internal-sftp",
      "",
    ].join("\n"),
  )
  // Where root's sshd keeps its unprivileged half.
  if (process.getuid?.() === 0) await mkdir("/run/sshd", { recursive: true })
  const child = spawn(program("sshd"), ["-D", "-e", "-f", join(folder, "sshd_config")], { stdio: ["ignore", "pipe", "pipe"] })
  const options = [
    ["IdentityFile", userKey],
    ["IdentitiesOnly", "yes"],
    ["UserKnownHostsFile", join(folder, "known_hosts")],
    ["StrictHostKeyChecking", "yes"],
    ["BatchMode", "yes"],
  ].flatMap(([key, value]) => ["-o", `${key}=${value}`])
  return { ...(await running(child, port, folder)), user: userInfo().username, options: ["-F", "none", ...options] }
}

/** A PostgreSQL with the superuser `postgres` and no password, on TCP and on a unix socket in `folder`. */
export async function startPostgres(): Promise<LocalServer> {
  const folder = await folderFor("postgres")
  const port = await freePort()
  const account = await postgresAccount()
  if (account !== undefined) await chown(folder, account.uid, account.gid)
  const data = join(folder, "data")
  await execute(program("initdb"), ["-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], { ...account, cwd: folder })
  const settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"].flatMap((each) => ["-c", each])
  const child = spawn(program("postgres"), ["-D", data, "-p", String(port), "-k", folder, ...settings], {
    ...account,
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  })
  const server = await running(child, port, folder)
  // It listens before it has finished starting.
  while (!(await isReady(port))) await pause(20)
  return server
}

const isReady = (port: number): Promise<boolean> =>
  execute(program("pg_isready"), ["-q", "-h", "127.0.0.1", "-p", String(port)]).then(
    () => true,
    () => false,
  )

/** It refuses to be run by root. */
async function postgresAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const [uid, gid] = await Promise.all(["-u", "-g"].map((flag) => execute("id", [flag, "postgres"])))
  return { uid: Number(uid?.stdout), gid: Number(gid?.stdout) }
}

export async function startRedis(): Promise<LocalServer> {
  const folder = await folderFor("redis")
  const port = await freePort()
  const flags = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
  return running(spawn(program("redis-server"), flags, { stdio: ["ignore", "pipe", "pipe"] }), port, folder)
}

/** An nginx with these lines in its one `server` block, whose files are in `www` of its folder. */
export async function startNginx(lines: readonly string[]): Promise<LocalServer> {
  const folder = await folderFor("nginx")
  const port = await freePort()
  await mkdir(join(folder, "www"))
  const config = [
    "daemon off;",
    "worker_processes 1;",
    `pid ${folder}/pid;`,
    // Root's workers would else be somebody who may not read the folder.
    ...(process.getuid?.() === 0 ? ["user root;"] : []),
    "events { worker_connections 512; }",
    "http {",
    "access_log off;",
    "default_type application/octet-stream;",
    ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((each) => `${each}_temp_path ${folder}/${each};`),
    "client_max_body_size 0;",
    `server { listen 127.0.0.1:${port}; root ${folder}/www;`,
    ...lines,
    "}",
    "}",
    "",
  ]
  await writeFile(join(folder, "nginx.conf"), config.join("\n"))
  const child = spawn(program("nginx"), ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"], {
    stdio: ["ignore", "pipe", "pipe"],
  })
  return running(child, port, folder)
}
