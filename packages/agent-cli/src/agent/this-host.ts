/** The machine this is, as `trunkline info` shows it. */
import { arch, hostname, platform, release } from "node:os"
import type { AgentHello } from "@trunkline/protocol"

export const thisHost = (): AgentHello["host"] => ({
  hostname: hostname(),
  os: `${platform()} ${release()}`.slice(0, 64),
  arch: arch(),
  node: process.version,
})
