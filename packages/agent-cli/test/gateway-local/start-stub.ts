/** Runs a gateway with the stub bundle on the data directory given, prints where it is, and stops it on SIGTERM. */
import { fileURLToPath } from "node:url"
import { startGateway } from "../../src/gateway-local/gateway-process.ts"

const gateway = await startGateway({
  port: 0,
  dataDirectory: process.argv[2] ?? "",
  bundle: fileURLToPath(new URL("stub-gateway.js", import.meta.url)),
  onOutput: (line) => console.error(line),
})
process.once("SIGTERM", () => void gateway.stop())
console.log(JSON.stringify(gateway))
