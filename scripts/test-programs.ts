/** Programs nobody here wrote that the tests use: found, or installed from Debian's packages where we may. */
import { accessSync, constants, globSync } from "node:fs"
import { delimiter, join } from "node:path"
import { run } from "./run.ts"

/** Program and the Debian package that has it. */
const programs: Readonly<Record<string, string>> = {
  chromium: "chromium",
  tmux: "tmux",
  vim: "vim",
  less: "less",
  htop: "htop",
  zsh: "zsh",
  fish: "fish",
  git: "git",
  curl: "curl",
  openssl: "openssl",
  ssh: "openssh-client",
  sshd: "openssh-server",
  sftp: "openssh-client",
  rsync: "rsync",
  nginx: "nginx-light",
  "redis-server": "redis-server",
  "redis-benchmark": "redis-tools",
  psql: "postgresql-client",
  postgres: "postgresql",
}

export async function installTestPrograms(): Promise<void> {
  const packages = [...new Set(Object.entries(programs).flatMap(([program, name]) => (isInstalled(program) ? [] : [name])))]
  if (packages.length === 0) return
  if (process.getuid?.() !== 0 || !isInstalled("apt-get")) {
    throw new Error(
      `the tests need ${packages.join(", ")}: install them (on Debian: sudo apt-get install ${packages.join(" ")}) and try again`,
    )
  }
  console.log(`installing ${packages.join(", ")} for the tests`)
  process.env.DEBIAN_FRONTEND = "noninteractive"
  // The tests start servers of their own: where no service manager says otherwise, none is started by its package.
  process.env.RUNLEVEL = "1"
  const updated = await run("apt-get", ["update", "-q"])
  const installed = updated === 0 ? await run("apt-get", ["install", "-q", "-y", "--no-install-recommends", ...packages]) : updated
  if (installed !== 0) throw new Error(`apt-get could not install ${packages.join(", ")}`)
}

/** Where Debian keeps servers, beside what PATH says. */
const serverFolders = ["/usr/sbin", ...globSync("/usr/lib/postgresql/*/bin")]

function isInstalled(program: string): boolean {
  return [...(process.env.PATH ?? "").split(delimiter), ...serverFolders].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
