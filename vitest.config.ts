import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    reporters: ["default", "./scripts/tests-line.ts"],
    projects: [
      "packages/protocol",
      "packages/gateway",
      {
        // Real processes, sockets and terminals on few cores: files one after the other, so that none starves another.
        test: {
          name: "machine",
          include: ["packages/{agent-cli,client}/test/**/*.test.ts", "e2e/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
})
