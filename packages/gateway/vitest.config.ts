/** The gateway's tests run inside workerd, with real Durable Objects, KV and sockets. */
import { cloudflareTest } from "@cloudflare/vitest-plugin"
import { defineConfig } from "vitest/config"

export default defineConfig({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: "./wrangler.jsonc" },
      miniflare: { bindings: { GATEWAY_SECRET: "test-gateway-secret", GATEWAY_SECRET_PREVIOUS: "test-previous-secret" } },
    }),
  ],
  test: { name: "gateway", include: ["test/**/*.test.ts"] },
})
