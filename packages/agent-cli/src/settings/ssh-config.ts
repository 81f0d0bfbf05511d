/** The settings of `trunkline ssh-config`. */
import { readPort } from "./readers.ts"
import { setting, text, toggle } from "./setting.ts"

export const sshConfigSettings = {
  writeSshConfig: setting<boolean>({
    ...toggle,
    flag: "--write",
    env: "TRUNKLINE_SSH_CONFIG_WRITE",
    help: "write it into ~/.ssh/config",
  }),
  removeSshConfig: setting<boolean>({
    ...toggle,
    flag: "--remove",
    env: "TRUNKLINE_SSH_CONFIG_REMOVE",
    help: "take it out of ~/.ssh/config again",
  }),
  sshUser: setting<string | undefined>({
    ...text,
    flag: "--user <user>",
    env: "TRUNKLINE_SSH_USER",
    unit: "user at the agent",
    defaultText: "ssh's own",
    help: "the user that ssh logs in as",
  }),
  sshPort: setting<number>({
    flag: "--port <number>",
    env: "TRUNKLINE_SSH_PORT",
    unit: "TCP port",
    default: 22,
    help: "the port of the sshd at the agent",
    read: readPort,
  }),
  hostAlias: setting<string | undefined>({
    ...text,
    flag: "--host-alias <host>",
    env: "TRUNKLINE_SSH_HOST_ALIAS",
    unit: "host name",
    defaultText: "the agent's name",
    help: "what ssh shall call it",
  }),
}
