/**
 * Which control sequences make a terminal answer on its keyboard line, as xterm, kitty, VTE, iTerm and foot do. Pure: it is given
 * whole sequences, a character a byte.
 */

/** Where a sequence that carries a text begins. */
export type StringKind = "osc" | "dcs" | "apc" | "other"

// biome-ignore lint/suspicious/noControlCharactersInRegex: controls inside a sequence are done at once and are no part of it
const controls = /[\u0000-\u001f\u007f]/g
const csiPattern = /^([<=>?]?)([0-9;:]*)([ -/]*)([@-~])$/

/** Reports of the window's state, position, size and titles. */
const windowReports = new Set(["11", "13", "14", "15", "16", "18", "19", "20", "21"])

/** Prefix, intermediates and final of those that are queries whatever their parameters. */
const csiQueries = new Set([
  // DA1, DA2, DA3.
  ...["c", ">c", "=c"],
  // DSR and CPR, and those of DEC; `>n` switches key modifiers.
  ...["n", "?n"],
  // DECRQM, of ANSI modes and of DEC's.
  ...["$p", "?$p"],
  // XTVERSION. DECREQTPARM. XTQMODKEYS. XTSMGRAPHICS. Kitty's keyboard flags.
  ...[">q", "x", "?m", "?S", "?u"],
  // DECRQPSR, DECRQTSR, DECRQUPSS, DECRQCRA, DECRQDE, DECRQLP.
  ...["$w", "$u", "&u", "*y", '"v', "'|"],
  // XTREPORTCOLORS, XTREPORTSGR.
  ...["#R", "#|"],
])

/** `body`: from behind the introducer to the final. */
export function isCsiQuery(body: string): boolean {
  const [, prefix = "", parameters = "", intermediates = "", final = ""] = csiPattern.exec(body.replaceAll(controls, "")) ?? []
  if (prefix === "" && intermediates === "" && final === "t") return windowReports.has(parameters.split(";")[0] ?? "")
  return csiQueries.has(prefix + intermediates + final)
}

/** Of colours, fonts and pointers a query has a `?` in a value's place. */
const valueQuery = /^(?:[45]|1[0-9]|2[12]|50);(?:[\s\S]*[;=])?\?/
const valueNumber = /^(?:[45]|1[0-9]|2[12]|50);/

const textQueries: Readonly<Record<StringKind, readonly RegExp[]>> = {
  // The clipboard; what xterm allows; what kitty's notifications can do; iTerm's reports.
  osc: [valueQuery, /^52;[^;]*;\?/, /^6[01](?:;|$)/, /^99;(?:[^;]*:)?p=\?/, /^1337;(?:Report|Capabilities)/],
  // DECRQSS, XTGETTCAP, XTGETXRES.
  dcs: [/^[0-9;:]*[$+][qQ]/],
  // Kitty's graphics.
  apc: [/^G(?:[^;]*,)?a=q(?:[,;]|$)/],
  other: [],
}

/** `body`: between introducer and terminator. */
export const isTextQuery = (kind: StringKind, body: string): boolean => textQueries[kind].some((query) => query.test(body))

/** Whether a text that begins so may yet become a query. */
export const mayBecomeQuery = (kind: StringKind, start: string): boolean =>
  isTextQuery(kind, start) || (kind === "osc" && valueNumber.test(start))
