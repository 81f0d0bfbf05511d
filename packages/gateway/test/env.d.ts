/** What `cloudflare:workers` gives the tests. */
declare namespace Cloudflare {
  interface Env extends GatewayEnv {}
  interface GlobalProps {
    mainModule: typeof import("../src/index.ts")
  }
}
type GatewayEnv = import("../src/env.ts").Env
