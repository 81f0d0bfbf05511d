import { expect, test } from "vitest"
import { Complaints } from "../../src/forwarding/complaints.ts"

function complaining() {
  const lines: string[] = []
  let nowMs = 0
  const complaints = new Complaints(
    (line) => lines.push(line),
    () => nowMs,
  )
  return { complaints, lines, pass: (ms: number) => (nowMs += ms) }
}

test("one sort is told of once in ten seconds, then with how many there were in between", () => {
  const { complaints, lines, pass } = complaining()
  for (let i = 0; i < 5; i++) complaints.say("a", "a failed")
  complaints.say("b", "b failed")
  expect(lines).toEqual(["a failed", "b failed"])
  pass(9_999)
  complaints.say("a", "a failed")
  expect(lines).toHaveLength(2)
  pass(1)
  complaints.say("a", "a failed")
  complaints.say("b", "b failed")
  expect(lines.slice(2)).toEqual(["a failed (and 5 more since this was last said)", "b failed"])
})

test("the sorts that are remembered are bounded, and the newest of them are", () => {
  const { complaints, lines } = complaining()
  for (let i = 0; i < 10_000; i++) complaints.say(String(i), "x")
  expect(lines).toHaveLength(10_000)
  complaints.say("9999", "x")
  expect(lines).toHaveLength(10_000)
  complaints.say("0", "x")
  expect(lines).toHaveLength(10_001)
})
