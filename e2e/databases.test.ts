/** PostgreSQL and Redis behind `trunkline forward`, used by their own clients. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { freePort } from "./free-port.ts"
import { cuts, Lines, livedMs, seeded } from "./lines.ts"
import { type LocalServer, startPostgres, startRedis } from "./local-servers.ts"
import { hashOfFile, type Ran, runProgram } from "./run-program.ts"
import { type Command, World } from "./world.ts"

const name = "db"
/** Rows of the table that is copied, about 60 bytes each. */
const rows = 500_000
const longTestMs = 120_000

let world: World
let postgres: LocalServer
let redis: LocalServer
let folder: string

beforeAll(async () => {
  world = await World.start()
  ;[postgres, redis] = await Promise.all([startPostgres(), startRedis()])
  await world.agent(name, ["--allow", "loopback:*", "--allow", `unix:${postgres.folder}/*`])
  folder = await mkdtemp(join(tmpdir(), "trunkline-db-"))
}, longTestMs)
afterAll(async () => {
  await Promise.all([postgres?.stop(), redis?.stop()])
  await world?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Starts `forward`, and resolves when it listens. */
async function forward(...specs: readonly string[]): Promise<Command> {
  const command = world.command(["forward", name, ...specs])
  await command.until(({ stderr }) => (stderr.match(/->/g) ?? []).length >= specs.length)
  return command
}

async function stop(command: Command): Promise<void> {
  command.child.kill("SIGINT")
  await command.finished
}

describe("PostgreSQL", () => {
  const psql = (port: number, ...args: readonly string[]): Promise<Ran> =>
    runProgram("psql", ["-X", "-q", "-h", "127.0.0.1", "-p", String(port), "-U", "postgres", "-v", "ON_ERROR_STOP=1", ...args])

  test("answers psql, and takes and gives a table by COPY, byte for byte", { timeout: longTestMs }, async () => {
    const port = await freePort()
    const forwarding = await forward(`${port}:localhost:${postgres.port}`)
    expect(await psql(port, "-Atc", "select 6 * 7")).toEqual({ code: 0, stdout: "42\n", stderr: "" })
    const refused = await psql(port, "-Atc", "select wrong")
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('column "wrong" does not exist') })
    const [out, again] = [join(folder, "out"), join(folder, "again")]
    const made = `create table numbers as select n, md5(n::text) as text from generate_series(1, ${rows}) n`
    expect(await psql(port, "-c", made, "-c", `\\copy numbers to '${out}'`)).toEqual({ code: 0, stdout: "", stderr: "" })
    const took = ["create table copies (like numbers)", `\\copy copies from '${out}'`, `\\copy copies to '${again}'`]
    expect(await psql(port, ...took.flatMap((each) => ["-c", each]))).toEqual({ code: 0, stdout: "", stderr: "" })
    expect(await hashOfFile(again)).toBe(await hashOfFile(out))
    expect(await psql(port, "-Atc", "select count(*) from copies")).toMatchObject({ stdout: `${rows}\n` })
    await stop(forwarding)
  })

  test("serves pgbench's clients at once, none of whom fails", { timeout: longTestMs }, async () => {
    const port = await freePort()
    const forwarding = await forward(`${port}:localhost:${postgres.port}`)
    const at = ["-h", "127.0.0.1", "-p", String(port), "-U", "postgres"]
    expect(await runProgram("createdb", [...at, "bench"])).toMatchObject({ code: 0 })
    expect(await runProgram("pgbench", [...at, "-i", "-q", "-s", "2", "bench"])).toMatchObject({ code: 0 })
    const { code, stdout } = await runProgram("pgbench", [...at, "-n", "-c", "20", "-t", "50", "bench"])
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining("transactions actually processed: 1000/1000") })
    await stop(forwarding)
  })

  test("is reached by a unix socket at both ends", { timeout: longTestMs }, async () => {
    const there = join(postgres.folder, `.s.PGSQL.${postgres.port}`)
    const forwarding = await forward(`${folder}/.s.PGSQL.7777:${there}`)
    expect(await runProgram("psql", ["-X", "-h", folder, "-p", "7777", "-U", "postgres", "-Atc", "select 'by path'"])).toEqual({
      code: 0,
      stdout: "by path\n",
      stderr: "",
    })
    await stop(forwarding)
  })

  test("gives the same table over lines that are cut in the middle of it", { timeout: longTestMs }, async () => {
    const random = seeded(11)
    const lines = await Lines.open(world, "db-cut", 4_000_000)
    const port = await freePort()
    const forwarding = lines.command(["forward", lines.name, `${port}:localhost:${postgres.port}`])
    await forwarding.until(({ stderr }) => stderr.includes("->"))
    const [straight, cut] = [join(folder, "straight"), join(folder, "cut")]
    const made = `create table lines as select n, md5((n + 1)::text) as text from generate_series(1, ${rows}) n`
    expect(await psql(postgres.port, "-c", made, "-c", `\\copy lines to '${straight}'`)).toMatchObject({ code: 0 })
    const copied = psql(port, "-c", `\\copy lines to '${cut}'`)
    for (const leg of ["client", "agent", "both"] as const) {
      await new Promise((resolve) => setTimeout(resolve, livedMs(random)))
      await lines.cut(leg, cuts[3] ?? { how: "rst" }, () => Promise.resolve())
    }
    lines.setRate(undefined)
    expect(await copied).toEqual({ code: 0, stdout: "", stderr: "" })
    expect(await hashOfFile(cut)).toBe(await hashOfFile(straight))
    await stop(forwarding)
    await lines.stop()
  })
})

describe("Redis", () => {
  test("serves redis-benchmark's 50 clients, one by one and in pipelines", { timeout: longTestMs }, async () => {
    const port = await freePort()
    const forwarding = await forward(`${port}:localhost:${redis.port}`)
    const at = ["-h", "127.0.0.1", "-p", String(port), "--csv"]
    const commands = ["-t", "ping,set,get,incr,lpush,lrange_100,mset"]
    for (const more of [
      [...commands, "-n", "1000"],
      [...commands, "-n", "10000", "-P", "16"],
      // 100 kB each.
      ["-t", "set,get", "-n", "500", "-d", "100000"],
    ]) {
      const { code, stdout, stderr } = await runProgram("redis-benchmark", [...at, "-c", "50", ...more])
      expect({ code, stderr: stderr.replace(/WARNING: Could not fetch server CONFIG\n/, "") }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toMatch(/"GET",/)
    }
    await stop(forwarding)
  })
})
