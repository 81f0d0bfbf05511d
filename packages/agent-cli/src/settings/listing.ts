/** Which endpoints `trunkline ls` shows. */
import { oneOf, readLabel } from "./readers.ts"
import { setting, toggle } from "./setting.ts"

export const listingSettings = {
  labelFilter: setting<Readonly<Record<string, string>>>({
    flag: "--label <key=value>",
    env: "TRUNKLINE_LABEL_FILTER",
    unit: "key=value",
    default: {},
    defaultText: "all",
    help: "only endpoints with this label; repeatable, all must match",
    separator: ",",
    read: readLabel,
  }),
  status: setting<"online" | "stale" | "draining" | "offline" | undefined>({
    flag: "--status <status>",
    env: "TRUNKLINE_STATUS",
    unit: "status",
    default: undefined,
    defaultText: "all",
    help: "only endpoints that are online, stale, draining or offline",
    choices: ["online", "stale", "draining", "offline"],
    read: (value) => oneOf(["online", "stale", "draining", "offline"], value),
  }),
  watch: setting<boolean>({
    ...toggle,
    flag: "--watch",
    env: "TRUNKLINE_WATCH",
    help: "keep showing; one JSON object a change when not on a terminal",
  }),
}
