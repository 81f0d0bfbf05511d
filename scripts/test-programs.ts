/** Programs nobody here wrote that the tests use: found, or installed from Debian's packages where we may. */
import { accessSync, constants } from "node:fs"
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
}

export async function installTestPrograms(): Promise<void> {
  const packages = Object.entries(programs).flatMap(([program, name]) => (isInstalled(program) ? [] : [name]))
  if (packages.length === 0) return
  if (process.getuid?.() !== 0 || !isInstalled("apt-get")) {
    throw new Error(
      `the tests need ${packages.join(", ")}: install them (on Debian: sudo apt-get install ${packages.join(" ")}) and try again`,
    )
  }
  console.log(`installing ${packages.join(", ")} for the tests`)
  process.env.DEBIAN_FRONTEND = "noninteractive"
  const updated = await run("apt-get", ["update", "-q"])
  const installed = updated === 0 ? await run("apt-get", ["install", "-q", "-y", "--no-install-recommends", ...packages]) : updated
  if (installed !== 0) throw new Error(`apt-get could not install ${packages.join(", ")}`)
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
