/** What an Accept header gets. */
import { expect, test } from "vitest"
import { preferredForm } from "../src/http-edge/answer-form.ts"

const [json, ndjson, sse] = ["application/json", "application/x-ndjson", "text/event-stream"]

test.each([
  [null, json],
  ["", json],
  ["*/*", json],
  ["application/*", json],
  ["text/*", sse],
  ["text/html", json],
  [ndjson, ndjson],
  ["Application/X-NDJSON; charset=utf-8", ndjson],
  [`${sse};q=0.5`, sse],
  // Of equals the first named, and a name above a wildcard.
  [`${json}, ${sse}`, json],
  [`${sse}, ${json}`, sse],
  [`*/*, ${ndjson}`, ndjson],
  [`text/*, ${ndjson}`, ndjson],
  // Weights.
  [`${json};q=0.5, ${sse}`, sse],
  [`${json};q=0.9, ${ndjson};q=0.8`, json],
  [`${ndjson} ; Q=0.2 , */* ; q=0.1`, ndjson],
  [`${json};q=0.1, */*`, ndjson],
  // Not wanted at all: the most exact range decides.
  [`${json};q=0, */*`, ndjson],
  [`${sse};q=0, text/*`, json],
  [`${ndjson};q=0`, json],
  // Malformed.
  [`${ndjson};q=nonsense`, ndjson],
  [`${ndjson};q=7`, ndjson],
  [",;,q=1", json],
])("Accept: %s", (accept, form) => {
  expect(preferredForm(accept)).toBe(form)
})
