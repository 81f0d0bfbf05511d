import type { Endpoint } from "@trunkline/client"
import { expect, test } from "vitest"
import { changesBetween } from "../../src/commands/ls.ts"
import { formatAge, formatTable, printable } from "../../src/output.ts"

test("a table has no borders and no blanks at line ends", () => {
  expect(
    formatTable(
      ["NAME", "STATUS"],
      [
        ["build-7", "online"],
        ["b", ""],
      ],
    ),
  ).toBe("NAME      STATUS\nbuild-7   online\nb\n")
})

test("a time is shown in its largest unit, and a clock that is ahead shows no negative time", () => {
  expect(formatAge(0, 999)).toBe("now")
  expect(formatAge(0, 59_999)).toBe("59s ago")
  expect(formatAge(0, 3_600_000)).toBe("1h ago")
  expect(formatAge(0, 200_000_000)).toBe("2d ago")
  expect(formatAge(5_000, 0)).toBe("now")
})

test("what an agent says of itself cannot move the cursor", () => {
  expect(printable("a\u001b[2Jb\u009bc\nd")).toBe("a\ufffd[2Jb\ufffdc\ufffdd")
})

const endpoint = (name: string, change: Partial<Endpoint> = {}): Endpoint => ({
  name,
  status: "online",
  mode: "socket",
  since: 1,
  lastSeen: 1,
  version: "1",
  labels: {},
  rttMs: null,
  ...change,
})

test("a watcher is told of what came, went and changed, and not that an agent is still there", () => {
  const known = new Map(["a", "b", "c"].map((name) => [name, endpoint(name)]))
  const now = [endpoint("a", { lastSeen: 9, rttMs: 4 }), endpoint("b", { status: "offline", since: 5 }), endpoint("d")]
  expect(changesBetween(known, now)).toEqual([
    { type: "changed", endpoint: now[1] },
    { type: "added", endpoint: now[2] },
    { type: "removed", endpoint: endpoint("c") },
  ])
})
