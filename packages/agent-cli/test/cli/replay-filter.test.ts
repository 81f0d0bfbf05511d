import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { ReplayFilter } from "../../src/terminal/replay-filter.ts"

const esc = "\u001b"
const st = `${esc}\\`
/** The 8-bit controls, which are two bytes in UTF-8. */
const csi8 = "\u009b"
const osc8 = "\u009d"

/** What comes out of chunks of history. */
const filtered = (...chunks: (string | Uint8Array)[]): string => {
  const filter = new ReplayFilter()
  const out = chunks.map((chunk) => Buffer.from(filter.read(typeof chunk === "string" ? Buffer.from(chunk) : chunk)))
  return Buffer.concat([...out, filter.end()]).toString("utf8")
}

const queries: readonly (readonly [name: string, query: string])[] = [
  ["DA1", `${esc}[c`],
  ["DA1 with a parameter", `${esc}[0c`],
  ["DA1 as DECID", `${esc}Z`],
  ["DA1, 8-bit", `${csi8}c`],
  ["DECID, 8-bit", "\u009a"],
  ["DA2", `${esc}[>c`],
  ["DA3", `${esc}[=0c`],
  ["DSR", `${esc}[5n`],
  ["CPR", `${esc}[6n`],
  ["DECXCPR", `${esc}[?6n`],
  ["the colour scheme", `${esc}[?996n`],
  ["DECRQM", `${esc}[?2026$p`],
  ["DECRQM of an ANSI mode", `${esc}[4$p`],
  ["DECRQSS", `${esc}P$qm${st}`],
  ["XTGETTCAP", `${esc}P+q544e;436f${st}`],
  ["XTGETXRES", `${esc}P+Q616c${st}`],
  ["XTVERSION", `${esc}[>0q`],
  ["XTQMODKEYS", `${esc}[?4m`],
  ["XTSMGRAPHICS", `${esc}[?2;1;0S`],
  ["DECREQTPARM", `${esc}[0x`],
  ["DECRQPSR", `${esc}[1$w`],
  ["DECRQCRA", `${esc}[1;1;1;1;5;5*y`],
  ["DECRQDE", `${esc}["v`],
  ["DECRQLP", `${esc}['|`],
  ["DECRQUPSS", `${esc}[&u`],
  ["XTREPORTCOLORS", `${esc}[#R`],
  ["a palette colour", `${esc}]4;1;?${st}`],
  ["a palette colour after one that is set", `${esc}]4;1;red;2;?\u0007`],
  ["256 palette colours", `${esc}]4;${Array.from({ length: 256 }, (_, index) => `${index};?`).join(";")}${st}`],
  ["the text's colour", `${esc}]10;?${st}`],
  ["the background's colour, ended by BEL", `${esc}]11;?\u0007`],
  ["the cursor's colour", `${esc}]12;?\u0007`],
  ["three colours at once", `${esc}]10;?;?;?\u0007`],
  ["a colour, 8-bit", `${osc8}11;?\u0007`],
  ["kitty's colours", `${esc}]21;foreground=?${st}`],
  ["the clipboard", `${esc}]52;c;?${st}`],
  ["the clipboard, which one left open", `${esc}]52;;?\u0007`],
  ["the font", `${esc}]50;?\u0007`],
  ["iTerm's cell size", `${esc}]1337;ReportCellSize\u0007`],
  ["what kitty's notifications can do", `${esc}]99;i=1:p=?;${st}`],
  ["kitty's keyboard", `${esc}[?u`],
  ["kitty's graphics", `${esc}_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA${st}`],
  ...[11, 13, 14, 15, 16, 18, 19, 20, 21].map((report) => [`window report ${report}`, `${esc}[${report}t`] as const),
  ["a window report with more parameters", `${esc}[14;2t`],
  ["ENQ", "\u0005"],
  ["ENQ inside a sequence, which goes on", `${esc}[\u0005c`],
  ["a DCS far longer than is held", `${esc}P$q${"x".repeat(20_000)}${st}`],
]

describe("a query does not come through, whole or cut anywhere", () => {
  test.each(queries)("%s", (_name, query) => {
    const text = `grüße ${query}danach`
    expect(filtered(text)).toBe("grüße danach")
    const bytes = Buffer.from(text)
    expect(filtered(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toBe("grüße danach")
  })
})

const kept: readonly (readonly [name: string, sequence: string])[] = [
  ["colours", `${esc}[1;38;2;1;2;3;4:3m`],
  ["cursor moves and erasures", `${esc}[2J${esc}[H${esc}[5;6H${esc}[K${esc}7${esc}8${esc}M`],
  ["modes", `${esc}[?1049h${esc}[?2004l${esc}[4h${esc}=${esc}>`],
  ["character sets", `${esc}(0lqk${esc}(B\u000e\u000f`],
  ["a soft reset and conformance level, which end in p", `${esc}[!p${esc}[62;1"p`],
  ["the cursor's style and lamps, which end in q", `${esc}[5 q${esc}[0q`],
  ["key modifiers, which end in m and n", `${esc}[>4;2m${esc}[>4n`],
  ["kitty's keyboard flags", `${esc}[>1u${esc}[<u${esc}[=5;1u${esc}[u`],
  ["the console's cursor", `${esc}[?17;0;64c`],
  ["window manipulation and titles", `${esc}[8;24;80t${esc}[22;0t${esc}[23;0t`],
  ["rectangles, which end in x and t", `${esc}[65;1;1;2;2$x${esc}[2*x${esc}[1;1;2;2;7$t`],
  ["a title with a question", `${esc}]0;ready? ;?\u0007`],
  ["a directory and a link", `${esc}]7;file://host/tmp${st}${esc}]8;;http://x/?a=?;b\u0007x${esc}]8;;\u0007`],
  ["colours that are set and reset", `${esc}]4;1;rgb:11/22/33${st}${esc}]11;#101010\u0007${esc}]104\u0007`],
  ["the clipboard being set", `${esc}]52;c;aGVsbG8/\u0007`],
  ["a long clipboard", `${esc}]52;c;${"QUJD".repeat(5_000)}\u0007`],
  ["a picture", `${esc}Pq#0;2;0;0;0${"~".repeat(10_000)}-${st}`],
  ["kitty's picture", `${esc}_Ga=T,f=100,m=1;${"iVBOR".repeat(2_000)}${st}`],
  ["a PM and an SOS", `${esc}^private${st}${esc}Xstart${st}`],
  ["an 8-bit colour", `${csi8}31mred`],
  ["a sequence that is given up", `${esc}[1\u0018c ${esc}]11;\u001a?`],
  ["an ESC before another sequence", `${esc}${esc}[1m`],
  ["controls inside a sequence", `${esc}[1\n;31m`],
  ["what is not finished", `text ${esc}[?`],
  ["an unfinished text", `text ${esc}]11;?`],
  ["a text that may be at its end", `text ${esc}]11;?${esc}`],
  ["letters that begin like an 8-bit control", "Â Ãÿ©®"],
]

describe("everything else comes through unchanged, whole or cut anywhere", () => {
  test.each(kept)("%s", (_name, sequence) => {
    expect(filtered(sequence)).toBe(sequence)
    expect(filtered(...Array.from(Buffer.from(sequence), (byte) => Uint8Array.of(byte)))).toBe(sequence)
  })
})

test("a text that an ESC ends was read all the same, and what the ESC begins counts", () => {
  expect(filtered(`a${esc}]11;?${esc}[1mb`)).toBe(`a${esc}[1mb`)
  expect(filtered(`a${esc}]0;title${esc}[cb`)).toBe(`a${esc}]0;titleb`)
})

test("a line feed inside a query is obeyed", () => {
  expect(filtered(`a${esc}[\n6nb`)).toBe("a\nb")
  expect(filtered(`a${esc}\n[6nb`)).toBe("a\nb")
})

test("an endless sequence is not held, and not shown", () => {
  const filter = new ReplayFilter()
  filter.read(Buffer.from(`${esc}[`))
  for (let round = 0; round < 100; round++) expect(filter.read(Buffer.from("1;".repeat(500))).byteLength).toBe(0)
  expect(filter.end().byteLength).toBeLessThan(10_000)
  expect(filtered(`${esc}[${"1;".repeat(5_000)}cafter`)).toBe("after")
})

test("after the end nothing of the history is left", () => {
  const filter = new ReplayFilter()
  filter.read(Buffer.from(`${esc}[`))
  expect(Buffer.from(filter.end()).toString()).toBe(`${esc}[`)
  expect(Buffer.from(filter.read(Buffer.from("c"))).toString()).toBe("c")
})

/** Cuts bytes at these places. */
const cutAt = (bytes: Uint8Array, places: readonly number[]): Uint8Array[] => {
  const at = [0, ...places.map((place) => place % (bytes.byteLength + 1)).sort((a, b) => a - b), bytes.byteLength]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

test("text with sequences that ask nothing is unchanged, in whichever pieces it comes", () => {
  const word = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll(/\p{Cc}/gu, ""))
  const piece = fc.oneof(word, fc.constantFrom("\r\n", "\t", "\b", "\u0007", ...kept.slice(0, 19).map(([, sequence]) => sequence)))
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, places) => {
      const text = pieces.join("")
      expect(filtered(...cutAt(Buffer.from(text), places))).toBe(text)
    }),
  )
})

test("however bytes are cut, the same comes out", () => {
  const part = fc.constantFrom(..."\u001b[]P_Z?;$q01cn\\\u0007\u0018\u0005\n", "\u00c2", "\u009b", "a", "11;?", "52;c;?")
  fc.assert(
    fc.property(fc.array(part, { maxLength: 60 }), fc.array(fc.nat()), (parts, places) => {
      const bytes = Buffer.from(parts.join(""), "latin1")
      expect(filtered(...cutAt(bytes, places))).toBe(filtered(bytes))
    }),
    { numRuns: 500 },
  )
})
