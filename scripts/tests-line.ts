/** Ends a test run with the one line that CI counts. */
import type { Reporter, TestModule } from "vitest/node"

export default class TestsLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const module of modules) {
      // A file that does not even load has no tests to fail.
      if (module.errors().length > 0) counts.failed += 1
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        counts[state === "passed" || state === "failed" ? state : "skipped"] += 1
      }
    }
    // After what the other reporters print on the way out.
    process.on("exit", () => console.log(`tests: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`))
  }
}
