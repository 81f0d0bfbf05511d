/** What the service writes piece by piece, and the client times. */

export const pieces = 20
/** Milliseconds between two: the path is empty again. */
export const pieceGapMs = 20
/** Characters of a time in nanoseconds. */
export const stampBytes = 20
