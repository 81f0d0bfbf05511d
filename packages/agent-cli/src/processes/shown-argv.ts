/** What of a command line a description shows. */

/** Characters of argv that a description has room for: a thousand of them are one listing. */
const shownArgvMax = 512

/** A copy, with an ellipsis where it is cut. */
export function shownArgv(argv: readonly string[]): string[] {
  let free = shownArgvMax
  const shown: string[] = []
  for (const argument of argv) {
    if (argument.length > free) {
      // By way of bytes: a part of a string holds the whole, which may be 256 KiB for as long as the process is kept.
      shown.push(`${Buffer.from(argument.slice(0, Math.max(0, free - 1))).toString()}…`)
      break
    }
    shown.push(argument)
    // One more, because an empty argument takes room too.
    free -= argument.length + 1
  }
  return shown
}
