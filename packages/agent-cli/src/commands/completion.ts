/** `trunkline completion SHELL`: scripts made of the command table and the settings table. */
import type { CommandSpec } from "../command-table/command-spec.ts"
import { commands } from "../command-table/commands.ts"
import type { Operands } from "../operands.ts"
import { isToggle, type Setting } from "../settings/setting.ts"
import { settingOf } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"
import { UsageError } from "../usage-error.ts"

export async function run(_values: object, { name }: Operands): Promise<number> {
  await writeAll(process.stdout, completionScript(name))
  return 0
}

export function completionScript(shell: string): string {
  switch (shell) {
    case "bash":
      return bash()
    case "zsh":
      return zsh()
    case "fish":
      return fish()
    default:
      throw new UsageError(`"${shell}" is not a shell there is a script for: bash, zsh or fish`)
  }
}

interface CompletedOption {
  readonly short: string | undefined
  readonly long: string
  readonly help: string
  readonly value: "none" | "path" | "text" | readonly string[]
}

interface CompletedCommand {
  readonly spec: CommandSpec
  readonly names: readonly string[]
  readonly options: readonly CompletedOption[]
}

const completed: readonly CompletedCommand[] = commands.map((spec) => ({
  spec,
  names: spec.alias === undefined ? [spec.name] : [spec.name, spec.alias],
  options: [
    ...spec.settings.map((field) => completedOption(settingOf(field))),
    { short: "-h", long: "--help", help: "show this help", value: "none" },
  ],
}))

function completedOption(setting: Setting<unknown>): CompletedOption {
  const names = setting.flag.split(/[ ,]+/).filter((part) => part.startsWith("-"))
  const value = isToggle(setting) ? "none" : (setting.choices ?? (setting.unit === "path" ? "path" : "text"))
  return {
    short: names.find((name) => !name.startsWith("--")),
    long: names.find((name) => name.startsWith("--")) ?? "",
    help: setting.help,
    value,
  }
}

const namesOf = ({ short, long }: CompletedOption): string[] => (short === undefined ? [long] : [short, long])

/** The names there are, asked of the gateway; nothing when it cannot be reached. */
const listAgents = "trunkline ls -o name 2>/dev/null"

/** What the first argument can be: of an agent's name, what `agents` gives. */
const operandWords = ({ arguments: [first] }: CommandSpec, agents: string): string =>
  first === undefined ? "" : (first.choices?.join(" ") ?? agents)

function bash(): string {
  const values = completed.flatMap(({ names, options }) =>
    options
      .filter(({ value }) => value !== "none")
      .map((option) => {
        const patterns = names.flatMap((name) => namesOf(option).map((flag) => `"${name} ${flag}"`)).join(" | ")
        const words =
          typeof option.value === "string"
            ? option.value === "path"
              ? 'COMPREPLY=($(compgen -f -- "$current"))'
              : ""
            : `COMPREPLY=($(compgen -W "${option.value.join(" ")}" -- "$current"))`
        return `    ${patterns}) ${words === "" ? "" : `${words}; `}return ;;`
      }),
  )
  const words = completed.map(({ spec, names, options }) => {
    const operands = operandWords(spec, `$(${listAgents})`)
    return [
      `    ${names.join(" | ")})`,
      `      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "${options.flatMap(namesOf).join(" ")}" -- "$current"))`,
      operands === "" ? "      fi" : `      else COMPREPLY=($(compgen -W "${operands}" -- "$current")); fi`,
      "      ;;",
    ].join("\n")
  })
  return `# bash completion for trunkline: eval "$(trunkline completion bash)"
_trunkline() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" command="\${COMP_WORDS[1]}" i
  COMPREPLY=()
  # What follows -- is the remote machine's.
  for ((i = 1; i < COMP_CWORD; i++)); do [[ \${COMP_WORDS[i]} == -- ]] && return; done
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${completed.flatMap(({ names }) => names).join(" ")} help --help --version" -- "$current"))
    return
  fi
  case "$command $previous" in
${values.join("\n")}
  esac
  case "$command" in
${words.join("\n")}
  esac
}
complete -F _trunkline trunkline
`
}

/** For single quotes and the brackets of \`_arguments\`. */
const zshText = (text: string): string => text.replaceAll(/[[\]:\\]/g, "\\$&").replaceAll("'", "'\\''")

function zsh(): string {
  const described = completed.flatMap(({ spec, names }) => names.map((name) => `    '${name}:${zshText(spec.summary)}'`))
  const cases = completed.map(({ spec, names, options }) => {
    const lines = options.flatMap((option) => {
      const action =
        option.value === "none"
          ? ""
          : option.value === "path"
            ? ":file:_files"
            : option.value === "text"
              ? ":value: "
              : `:value:(${option.value.join(" ")})`
      return namesOf(option).map((flag) => `'*${flag}[${zshText(option.help)}]${action}'`)
    })
    for (const [index, { name, choices }] of spec.arguments.entries()) {
      const words = choices === undefined ? (index === 0 ? "_trunkline_agents" : " ") : `(${choices.join(" ")})`
      lines.push(`'${index + 1}:${name.slice(1, -1)}:${words}'`)
    }
    return `    ${names.join("|")})\n      _arguments ${lines.join(" \\\n        ")}\n      ;;`
  })
  return `#compdef trunkline
# zsh completion for trunkline: trunkline completion zsh > a directory of $fpath/_trunkline
_trunkline_agents() {
  local -a agents
  agents=(\${(f)"$(${listAgents})"})
  compadd -a agents
}
_trunkline() {
  local -a commands
  commands=(
${described.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  # What follows -- is the remote machine's.
  (( \${words[(I)--]} > 0 && \${words[(I)--]} < CURRENT )) && return
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join("\n")}
  esac
}
if [[ $funcstack[1] == _trunkline ]]; then _trunkline "$@"; else compdef _trunkline trunkline; fi
`
}

const fishText = (text: string): string => `'${text.replaceAll(/[\\']/g, "\\$&")}'`

function fish(): string {
  const lines = completed.flatMap(({ spec, names, options }) => {
    const inside = fishText(`__fish_seen_subcommand_from ${names.join(" ")}`)
    return [
      ...names.map((name) => `complete -c trunkline -n __fish_use_subcommand -a ${name} -d ${fishText(spec.summary)}`),
      ...options.map((option) => {
        const short = option.short === undefined ? "" : ` -s ${option.short.slice(1)}`
        const value =
          option.value === "none"
            ? ""
            : option.value === "path"
              ? " -r -F"
              : option.value === "text"
                ? " -x"
                : ` -x -a ${fishText(option.value.join(" "))}`
        return `complete -c trunkline -n ${inside}${short} -l ${option.long.slice(2)}${value} -d ${fishText(option.help)}`
      }),
      ...(spec.arguments.length === 0 ? [] : [`complete -c trunkline -n ${inside} -a ${fishText(operandWords(spec, `(${listAgents})`))}`]),
    ]
  })
  return `# fish completion: trunkline completion fish > ~/.config/fish/completions/trunkline.fish
complete -c trunkline -f
${lines.join("\n")}
`
}
