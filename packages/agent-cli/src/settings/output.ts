/** How much is said, and in which form. */
import { oneOf } from "./readers.ts"
import { setting } from "./setting.ts"

export const outputSettings = {
  logLevel: setting<"debug" | "info" | "warn" | "error">({
    flag: "--log-level <level>",
    env: "TRUNKLINE_LOG_LEVEL",
    unit: "level",
    default: "info",
    help: "least level that is logged: debug, info, warn or error",
    choices: ["debug", "info", "warn", "error"],
    read: (value) => oneOf(["debug", "info", "warn", "error"], value),
  }),
  logFormat: setting<"auto" | "text" | "json">({
    flag: "--log-format <format>",
    env: "TRUNKLINE_LOG_FORMAT",
    unit: "format",
    default: "auto",
    help: "text, json (one object a line), or auto: text on a terminal, json elsewhere",
    choices: ["auto", "text", "json"],
    read: (value) => oneOf(["auto", "text", "json"], value),
  }),
  listOutput: setting<"table" | "json" | "name">({
    flag: "-o, --output <format>",
    env: "TRUNKLINE_LIST_OUTPUT",
    unit: "format",
    default: "table",
    help: "table, json, or name: one name a line",
    choices: ["table", "json", "name"],
    read: (value) => oneOf(["table", "json", "name"], value),
  }),
  processListOutput: setting<"table" | "json" | "id">({
    flag: "-o, --output <format>",
    env: "TRUNKLINE_PS_OUTPUT",
    unit: "format",
    default: "table",
    help: "table, json, or id: one id a line",
    choices: ["table", "json", "id"],
    read: (value) => oneOf(["table", "json", "id"], value),
  }),
  output: setting<"text" | "json">({
    flag: "-o, --output <format>",
    env: "TRUNKLINE_OUTPUT",
    unit: "format",
    default: "text",
    help: "text or json: one document",
    choices: ["text", "json"],
    read: (value) => oneOf(["text", "json"], value),
  }),
}
