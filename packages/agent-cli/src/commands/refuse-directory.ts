/** A stdin that cannot be what was meant. */
import { fstatSync } from "node:fs"
import { UsageError } from "../usage-error.ts"

/** Node would read a directory as if it were empty. */
export function refuseDirectory(): void {
  if (fstatSync(0).isDirectory()) throw new UsageError("stdin is a directory: give -i a file, a pipe or a terminal")
}
