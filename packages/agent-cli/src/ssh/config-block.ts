/** A host of ours in OpenSSH's client configuration: lines between two markers, and a file with and without them. */
import { UsageError } from "../usage-error.ts"
import { shellWord } from "./shell-word.ts"

export interface SshHost {
  /** The agent. */
  readonly name: string
  /** What users call it. */
  readonly alias: string
  readonly user: string | undefined
  readonly port: number
  /** The program and its arguments; ssh's shell runs them. */
  readonly command: readonly string[]
}

const beginning = (alias: string): string => `# >>> trunkline ${alias} >>>`
const ending = (alias: string): string => `# <<< trunkline ${alias} <<<`

/**
 * The lines, ready to stand at the top of the file: ssh takes the first value it finds. They end with a section for every host, so that what follows means what it
 * meant without them. Throws UsageError for what would not be one word there.
 */
export function sshBlock({ name, alias, user, port, command }: SshHost): string {
  if (!/^[A-Za-z0-9._-]+$/.test(alias)) throw new UsageError(`"${alias}" is no host alias: letters, digits and . _ - are`)
  if (user !== undefined && !/^[^\s"'#\\%$-][^\s"'#\\%$]*$/.test(user)) throw new UsageError(`"${user}" is no user name for ssh`)
  if (port === 0) throw new UsageError("0 is not a port to connect to: give that of the sshd, from 1 to 65535")
  const lines = [
    beginning(alias),
    `# Agent ${name}. Written by trunkline ssh-config; --remove takes these lines away again.`,
    `Host ${alias} trunkline-${alias}`,
    `  HostKeyAlias trunkline-${alias}`,
    ...(user === undefined ? [] : [`  User ${user}`]),
    `  Port ${port}`,
    `  ProxyCommand ${proxyCommand(command)}`,
    "Host *",
    ending(alias),
  ]
  return `${lines.join("\n")}\n`
}

/** ssh replaces what begins with a percent sign, and hands all of it to the user's shell. `%p` alone is left for ssh. */
const proxyCommand = (command: readonly string[]): string =>
  command.map((word) => (word === "%p" ? word : shellWord(oneLine(word)).replaceAll("%", "%%"))).join(" ")

function oneLine(word: string): string {
  if (/[\n\r\0]/.test(word)) throw new UsageError(`${JSON.stringify(word)} cannot stand in an ssh configuration: it holds a line end`)
  return word
}

/** With the block in place of the one that was there, and otherwise at the top. Everything else stays as it is, to the byte. Throws UsageError for a block without an end. */
export function withBlock(text: string, alias: string, block: string): string {
  const found = findBlock(text, alias)
  if (found === undefined) return block + text
  return text.slice(0, found.from) + block + withoutBlock(text.slice(found.to), alias)
}

/** Throws UsageError for a block without an end. */
export function withoutBlock(text: string, alias: string): string {
  const found = findBlock(text, alias)
  return found === undefined ? text : text.slice(0, found.from) + withoutBlock(text.slice(found.to), alias)
}

interface Range {
  readonly from: number
  readonly to: number
}

function findBlock(text: string, alias: string): Range | undefined {
  const from = findLine(text, beginning(alias), 0)
  if (from === undefined) return undefined
  const last = findLine(text, ending(alias), from.to)
  if (last === undefined)
    throw new UsageError(`the ssh configuration has "${beginning(alias)}" and no "${ending(alias)}" behind it: mend it by hand first`)
  return { from: from.from, to: last.to }
}

/** A line that is this and nothing more, with its end. */
function findLine(text: string, line: string, start: number): Range | undefined {
  for (let from = start; from < text.length; ) {
    const lineEnd = text.indexOf("\n", from)
    const to = lineEnd === -1 ? text.length : lineEnd + 1
    if (text.slice(from, to).trimEnd() === line) return { from, to }
    from = to
  }
  return undefined
}
