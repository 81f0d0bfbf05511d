/** Reads a command line: commander, fed by the command table and the settings table. */
import { Argument, Command, InvalidArgumentError, Option } from "commander"
import type { CommandSpec } from "./command-table/command-spec.ts"
import { commands } from "./command-table/commands.ts"
import type { Operands } from "./operands.ts"
import { describeSetting, isToggle, readEnvironment, type Setting } from "./settings/setting.ts"
import { type Field, settingOf, type Values } from "./settings/settings.ts"
import { UsageError } from "./usage-error.ts"

export interface Invocation {
  readonly spec: CommandSpec
  readonly values: Values
  readonly operands: Operands
}

/**
 * What `argv` asks for; undefined when it was help or a version, which has been printed. Throws
 * commander's error, after it has written its message, for a command line that is none.
 */
export async function readCommandLine(
  argv: readonly string[],
  version: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Invocation | undefined> {
  // What follows the first `--` belongs to the remote command, whatever it looks like.
  const end = argv.indexOf("--")
  const own = end === -1 ? argv : argv.slice(0, end)
  const rest = end === -1 ? [] : argv.slice(end + 1)
  let invocation: Invocation | undefined
  const program = buildProgram(version, (spec, operands, values) => {
    const [name = "", processId = ""] = operands
    const more = operands.slice(1)
    const excess = spec.arguments.at(-1)?.name.includes("...") === true ? [] : operands.slice(spec.arguments.length)
    if (spec.command === undefined && rest.length > 0) throw new UsageError(`${spec.name} takes no command after --`)
    if (spec.command?.required === true && rest.length === 0) {
      throw new UsageError(
        `no command: put it after --, as in trunkline ${spec.name} ${name} -- ${excess.length === 0 ? "uname -a" : excess.join(" ")}`,
      )
    }
    const [unexpected] = excess
    if (unexpected !== undefined) throw new UsageError(`"${unexpected}" is one argument too many`)
    invocation = { spec, values: values(environment), operands: { name, processId, more, command: rest } }
  })
  await program.parseAsync(own, { from: "user" })
  return invocation
}

const firstSteps = `
A gateway, an agent and a command, all on this machine:
  trunkline gateway
  trunkline serve --name here
  trunkline exec here -- uname -a`

type Chosen = (spec: CommandSpec, operands: readonly string[], values: (environment: NodeJS.ProcessEnv) => Values) => void

function buildProgram(version: string, chosen: Chosen): Command {
  const program = new Command("trunkline")
    .description("Reach machines that can only dial out.")
    .version(version, "--version", "print the version")
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(message.replace(/^error: /, "trunkline: ")) })
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command]", "show the help of a command")
    .addHelpText("after", firstSteps)
  for (const spec of commands) addCommand(program, spec, chosen)
  return program
}

function addCommand(program: Command, spec: CommandSpec, chosen: Chosen): void {
  const command = program
    .command(spec.name)
    .summary(spec.summary)
    .description(spec.description)
    .showHelpAfterError(`${spec.command === undefined ? "" : "the remote command goes after --; "}try: trunkline ${spec.name} --help`)
  if (spec.alias !== undefined) command.alias(spec.alias)
  const operands = spec.arguments.map(({ name }) => ` ${name}`).join("")
  const tail = spec.command === undefined ? "" : spec.command.required ? ` -- ${spec.command.usage}` : ` [-- ${spec.command.usage}]`
  command.usage(`${spec.settings.length === 0 ? "" : "[options]"}${operands}${tail}`.trim())
  for (const { name, help, choices } of spec.arguments) {
    const argument = new Argument(name, help)
    if (choices !== undefined) argument.choices(choices)
    command.addArgument(argument)
  }
  const options: OptionOfField[] = spec.settings.map((field) => ({ field, setting: settingOf(field), option: optionOf(settingOf(field)) }))
  for (const { option } of options) command.addOption(option)
  command.addHelpText(
    "after",
    `\nExamples:\n${spec.examples.map(([line, comment]) => `  ${line}${comment === "" ? "" : `   # ${comment}`}`).join("\n")}`,
  )
  command.allowExcessArguments().action(() => {
    try {
      chosen(spec, command.args, (environment) => readValues(command, options, environment))
    } catch (error) {
      if (error instanceof UsageError) command.error(`error: ${error.message}`)
      throw error
    }
  })
}

interface OptionOfField {
  readonly field: Field
  readonly setting: Setting<unknown>
  readonly option: Option
}

/** Flag, environment, default, in this order. */
function readValues(command: Command, options: readonly OptionOfField[], environment: NodeJS.ProcessEnv): Values {
  const typed = new Map<string, unknown>(options.map(({ field, option }) => [field, typedValue(command, option)]))
  const entries = options.map(({ field, setting }) => {
    const yields = setting.yieldsTo !== undefined && typed.get(setting.yieldsTo) !== undefined
    return [field, typed.get(field) ?? (yields ? undefined : readEnvironment(setting, environment)) ?? setting.default] as const
  })
  // Only the declared fields are there, and only those are visible to the command's code.
  return Object.fromEntries(entries) as unknown as Values
}

/** Undefined for one that was not typed. Of a flag that begins with "no-" commander keeps the opposite. */
function typedValue(command: Command, option: Option): unknown {
  const value: unknown = command.getOptionValue(option.attributeName())
  if (!option.negate) return value
  return value === false ? true : undefined
}

function optionOf(setting: Setting<unknown>): Option {
  const option = new Option(setting.flag, describeSetting(setting))
  if (isToggle(setting)) return option
  return option.argParser((text: string, previous: unknown) => {
    try {
      return setting.read(text, previous ?? setting.default)
    } catch (error) {
      throw error instanceof UsageError ? new InvalidArgumentError(error.message) : error
    }
  })
}
