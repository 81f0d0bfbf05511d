/**
 * Every setting of the command line, once: field, flag, environment twin, unit, default and help. The commands' options,
 * their help and the completion scripts are made of this table. Order of precedence: flag, environment, default.
 */
import { connectionSettings } from "./connection.ts"
import { forwardSettings } from "./forward.ts"
import { gatewaySettings } from "./gateway.ts"
import { listingSettings } from "./listing.ts"
import { outputSettings } from "./output.ts"
import { ownerPolicySettings } from "./policy.ts"
import { processSettings } from "./process.ts"
import { serveSettings } from "./serve.ts"
import type { Setting } from "./setting.ts"
import { sshConfigSettings } from "./ssh-config.ts"
import { waySettings } from "./ways.ts"

export const settings = {
  ...connectionSettings,
  ...gatewaySettings,
  ...serveSettings,
  ...waySettings,
  ...ownerPolicySettings,
  ...listingSettings,
  ...processSettings,
  ...forwardSettings,
  ...sshConfigSettings,
  ...outputSettings,
}

export type Field = keyof typeof settings
export type Values<F extends Field = Field> = { readonly [Name in F]: (typeof settings)[Name]["default"] }

/** The same table, where one setting is as good as another. */
export const settingOf = (field: Field): Setting<unknown> => settings[field] as Setting<unknown>
