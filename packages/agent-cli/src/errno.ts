/** What an error that came from the system says. */

/** The errno name of a failed system call (`EACCES`), or undefined for any other error. */
export const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined

/** The sentence of an error that came from elsewhere. */
export const sentenceOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
