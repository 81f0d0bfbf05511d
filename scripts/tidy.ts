/** Rules of this repository that no linter knows. Prints each breach and fails. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"

const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && existsSync(file))
const breaches: string[] = []

/** Arrows between packages point at `protocol` and never back. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  "packages/protocol/src/": [],
  "packages/client/src/": ["@trunkline/protocol"],
  "packages/gateway/src/": ["@trunkline/protocol", "@trunkline/client"],
  "packages/agent-cli/src/": ["@trunkline/protocol", "@trunkline/client", "@trunkline/gateway"],
}

/** What a pure core gets from outside, and what would make its simulation a lie. */
const impure = /\b(?:Date\.now|Math\.random|setTimeout|setInterval|queueMicrotask|performance\.now|console\.)/

for (const file of files) {
  if (!/\.(ts|js)$/.test(file)) continue
  const text = readFileSync(file, "utf8")
  for (const [folder, allowed] of Object.entries(mayImport)) {
    if (!file.startsWith(folder)) continue
    for (const [, specifier = ""] of text.matchAll(/(?:from|import)\s*\(?\s*"(@trunkline\/[^"/]+|\.\.?\/[^"]+)/g)) {
      if (specifier.startsWith("@trunkline/") && !allowed.includes(specifier)) breaches.push(`${file}: imports ${specifier}`)
      if (specifier.startsWith(".") && !specifier.endsWith("package.json") && !normalize(join(dirname(file), specifier)).startsWith(folder))
        breaches.push(`${file}: reaches into ${specifier}`)
    }
  }
  if (file.startsWith("packages/protocol/src/")) {
    const found = impure.exec(text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, ""))
    if (found !== null) breaches.push(`${file}: ${found[0]} in the pure core; take it from a port`)
    if (!file.includes("/testing/") && /from "[^"]*testing\//.test(text)) breaches.push(`${file}: imports what is for tests`)
  }
}

for (const file of files.filter((name) => name.endsWith(".md"))) {
  for (const [, link = ""] of readFileSync(file, "utf8").matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
    if (!/^[a-z]+:/.test(link) && !existsSync(join(dirname(file), link))) breaches.push(`${file}: links to ${link}, which is not there`)
  }
}

/** Every rule that code or a test cites is in the SPEC. */
const spec = readFileSync("packages/protocol/SPEC.md", "utf8")
const rules = new Set([...spec.matchAll(/\*\*([A-Z]{2}\d+)\*\*/g)].map(([, rule]) => rule))
for (const file of files.filter((name) => /^packages\/protocol\/(src|test)\/.*\.ts$/.test(name))) {
  for (const [, rule = ""] of readFileSync(file, "utf8").matchAll(/(?:ProtocolViolation\("|\[)([A-Z]{2}\d+)(?:"|\])/g)) {
    if (!rules.has(rule)) breaches.push(`${file}: cites ${rule}, which SPEC.md does not have`)
  }
}

for (const breach of breaches) console.error(breach)
if (breaches.length > 0) process.exitCode = 1
