/** `trunkline ssh-config NAME`: what `~/.ssh/config` needs for `ssh NAME` to reach an agent's sshd, printed, written or taken away. */
import { resolve } from "node:path"
import { endpointName, endpointNameRule, TunnelError } from "@trunkline/protocol"
import { findCredential } from "../credentials.ts"
import { exitCodes } from "../exit-codes.ts"
import type { GatewayValues } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import type { Values } from "../settings/settings.ts"
import { sshBlock, withBlock, withoutBlock } from "../ssh/config-block.ts"
import { changeSshConfig, sshConfigFile } from "../ssh/config-file.ts"
import { writeAll } from "../stdio.ts"
import { UsageError } from "../usage-error.ts"

type SshConfigValues = GatewayValues & Values<"writeSshConfig" | "removeSshConfig" | "sshUser" | "sshPort" | "hostAlias">

export async function run(values: SshConfigValues, { name }: Operands): Promise<number> {
  if (endpointName(name) === undefined) throw new TunnelError("bad-name", `"${name}" is not an endpoint name: ${endpointNameRule}`)
  if (values.writeSshConfig && values.removeSshConfig) throw new UsageError("--write and --remove contradict each other")
  const alias = values.hostAlias ?? name
  const file = sshConfigFile()
  if (values.removeSshConfig) {
    const changed = await changeSshConfig((text) => withoutBlock(text, alias))
    process.stderr.write(
      changed ? `trunkline: ${alias} is no longer in ${file}\n` : `trunkline: ${file} has nothing of ours about ${alias}\n`,
    )
    return exitCodes.ok
  }
  const block = sshBlock({ name, alias, user: values.sshUser, port: values.sshPort, command: proxyCommand(values, name) })
  if (values.writeSshConfig) {
    const changed = await changeSshConfig((text) => withBlock(text, alias, Buffer.from(block).toString("latin1")))
    process.stderr.write(`trunkline: ${changed ? `${alias} is in ${file} now` : `${alias} was in ${file} already`}: try ssh ${alias}\n`)
  } else {
    await writeAll(process.stdout, block)
  }
  await warnOfCredential(values)
  return exitCodes.ok
}

/** This very program, wherever ssh is started: neither PATH nor the working directory is the same there. Of credentials only where they are. */
function proxyCommand({ gateway, secretFile, tokenFile }: GatewayValues, name: string): string[] {
  const [, script = ""] = process.argv
  return [
    process.execPath,
    script,
    "connect",
    "--gateway",
    gateway.href,
    ...(secretFile === undefined ? [] : ["--secret-file", resolve(secretFile)]),
    ...(tokenFile === undefined ? [] : ["--token-file", resolve(tokenFile)]),
    name,
    "%p",
  ]
}

/** What ssh will not find by itself. */
async function warnOfCredential({ gateway, secretFile, tokenFile }: GatewayValues): Promise<void> {
  try {
    const { source } = await findCredential({ gateway: gateway.href, secretFile, tokenFile })
    if (source !== "TRUNKLINE_SECRET" && source !== "TRUNKLINE_TOKEN") return
    process.stderr.write(
      `trunkline: ssh needs ${source} in its environment as well; --secret-file or --token-file is written into the block instead\n`,
    )
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error
    process.stderr.write(`trunkline: ssh will not get in yet: ${error.message}\n`)
  }
}
