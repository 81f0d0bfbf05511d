/** The commands that ask nobody and are about the program itself. */
import { type CommandSpec, command } from "./command-spec.ts"

export const ownCommands: readonly CommandSpec[] = [
  command({
    name: "version",
    arguments: [],
    summary: "print the version",
    description: "Prints the version of trunkline.",
    settings: ["output"],
    examples: [
      ["trunkline version", ""],
      ["trunkline version -o json", "with the versions of what it runs on"],
    ],
    load: () => import("../commands/version.ts"),
  }),
  command({
    name: "completion",
    arguments: [{ name: "<shell>", help: "bash, zsh or fish", choices: ["bash", "zsh", "fish"] }],
    summary: "print a completion script",
    description: "Prints the script that completes trunkline's commands, options and agent names in your shell.",
    settings: [],
    examples: [
      ['eval "$(trunkline completion bash)"', "in ~/.bashrc"],
      ["trunkline completion zsh > ~/.zfunc/_trunkline", "in a directory of $fpath"],
      ["trunkline completion fish > ~/.config/fish/completions/trunkline.fish", ""],
    ],
    load: () => import("../commands/completion.ts"),
  }),
]
