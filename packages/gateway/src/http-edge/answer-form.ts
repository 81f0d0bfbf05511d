/** The form of an answer with output: what the Accept header prefers of the three there are. */

/** JSON first: it is what a caller gets who does not care. */
const answerForms = ["application/json", "application/x-ndjson", "text/event-stream"] as const
export type AnswerForm = (typeof answerForms)[number]

interface MediaRange {
  readonly type: string
  readonly q: number
}

/** JSON if the header is absent or accepts none of them: a command's outcome is worth more than a refusal. */
export const preferredForm = (accept: string | null): AnswerForm => preferred(accept, answerForms) ?? "application/json"

/**
 * The form with the highest q, as its most specific range says; of equals the one named more exactly, then the one named
 * first in the header, then the one first here. Undefined if the header is absent or accepts none of them.
 */
export function preferred<Form extends string>(accept: string | null, forms: readonly Form[]): Form | undefined {
  const ranges = (accept ?? "").split(",").map(readRange)
  const offers = forms.flatMap((form) => {
    const [major] = form.split("/")
    for (const [generality, type] of [form, `${major}/*`, "*/*"].entries()) {
      const place = ranges.findIndex((range) => range.type === type)
      const q = ranges[place]?.q
      if (q !== undefined) return q > 0 ? [{ form, q, generality, place }] : []
    }
    return []
  })
  // The sort is stable, so that the first form stays first among those that one range names.
  const [best] = offers.sort((left, right) => right.q - left.q || left.generality - right.generality || left.place - right.place)
  return best?.form
}

/** A q that is no number from 0 to 1 counts as 1: the type was named, so it is wanted. */
function readRange(text: string): MediaRange {
  const [type = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase())
  const value = parameters.find((parameter) => /^q\s*=/.test(parameter))?.replace(/^q\s*=\s*/, "")
  const q = value === undefined || value === "" ? 1 : Number(value)
  return { type, q: q >= 0 && q <= 1 ? q : 1 }
}
