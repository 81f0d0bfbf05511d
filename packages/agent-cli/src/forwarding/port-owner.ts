/** Who holds an address that is taken, where the system tells us: on Linux, of this user's own processes. */
import { readdir, readFile, readlink } from "node:fs/promises"
import { isIPv4 } from "node:net"
import type { ListenAddress } from "@trunkline/protocol"
import { commandLineOf } from "../gateway-local/process-table.ts"
import { everyAddress, loopback } from "./forward-spec.ts"

/** Characters of a command line that are shown. */
const commandLengthMax = 60

/** `postgres -D /var/lib/data (pid 1234)`; undefined when nobody can say. */
export async function addressOwner(address: ListenAddress): Promise<string | undefined> {
  const inodes = new Set("path" in address ? await unixInodes(address.path) : await tcpInodes(address.host, address.port))
  const pid = inodes.size === 0 ? undefined : await holderOf(inodes)
  if (pid === undefined) return undefined
  const command = (await commandLineOf(pid)).trim()
  const shown = command.length > commandLengthMax ? `${command.slice(0, commandLengthMax)}…` : command
  return `${shown === "" ? "a process" : shown} (pid ${pid})`
}

/** `sl local_address rem_address st … inode`; address and port are hexadecimal, of each 32 bits the last byte first. */
async function tcpInodes(host: string, port: number): Promise<readonly string[]> {
  const tables = await Promise.all(["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")))
  const listening = "0A"
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0")
  return tables
    .flatMap((table) => table.split("\n").map((line) => line.trim().split(/\s+/)))
    .filter(([, local = "", , state]) => {
      const [hexAddress = "", hex] = local.split(":")
      return state === listening && hex === hexPort && conflicts(hexAddress, host)
    })
    .flatMap(([, , , , , , , , , inode]) => (inode === undefined ? [] : [inode]))
}

/** Every address of the machine is in the way of one of them, and the other way round. */
function conflicts(hexAddress: string, host: string): boolean {
  if (host === loopback) return conflicts(hexAddress, "127.0.0.1") || conflicts(hexAddress, "::1")
  if (/^0+$/.test(hexAddress) || host === everyAddress || host === "0.0.0.0" || host === "::") return true
  if (isIPv4(host)) return hexAddress.endsWith(Buffer.from(host.split(".").map(Number).reverse()).toString("hex").toUpperCase())
  return host === "::1" && hexAddress === `${"0".repeat(24)}01000000`
}

/** `Num RefCount Protocol Flags Type St Inode Path` */
async function unixInodes(path: string): Promise<readonly string[]> {
  const table = await readFile("/proc/net/unix", "utf8").catch(() => "")
  return table.split("\n").flatMap((line) => {
    const [, , , , , , inode, ...name] = line.trim().split(/\s+/)
    return inode !== undefined && name.join(" ") === path ? [inode] : []
  })
}

async function holderOf(inodes: ReadonlySet<string>): Promise<number | undefined> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name))
  for (const pid of pids) {
    // Those of other users are closed to us, and some end while we look.
    const files = await readdir(`/proc/${pid}/fd`).catch(() => [])
    for (const file of files) {
      const link = await readlink(`/proc/${pid}/fd/${file}`).catch(() => "")
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
      if (inode !== undefined && inodes.has(inode)) return Number(pid)
    }
  }
  return undefined
}
