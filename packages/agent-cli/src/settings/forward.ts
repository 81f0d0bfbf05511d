/** The settings of `trunkline forward`. */
import type { ListenAddress } from "@trunkline/protocol"
import { type Forward, parseForward, parseListenAddress } from "../forwarding/forward-spec.ts"
import { setting } from "./setting.ts"

export const forwardSettings = {
  localForwards: setting<readonly Forward[]>({
    flag: "-L, --local <forward>",
    env: "TRUNKLINE_FORWARD",
    unit: "[BIND:]PORT[:HOST:PORT]",
    default: [],
    defaultText: "none",
    help: "the same as an argument, as ssh writes it; repeatable",
    separator: ",",
    read: (value, previous) => [...previous, parseForward(value)],
  }),
  reverseForwards: setting<readonly Forward[]>({
    flag: "-R, --reverse <forward>",
    env: "TRUNKLINE_FORWARD_REVERSE",
    unit: "[BIND:]PORT[:HOST:PORT]",
    default: [],
    defaultText: "none",
    help: "listen at the agent and connect here; repeatable",
    separator: ",",
    read: (value, previous) => [...previous, parseForward(value)],
  }),
  socksListeners: setting<readonly ListenAddress[]>({
    flag: "-D, --socks <address>",
    env: "TRUNKLINE_FORWARD_SOCKS",
    unit: "[BIND:]PORT",
    default: [],
    defaultText: "none",
    help: "a SOCKS5 proxy here whose connections the agent makes, names resolved there; repeatable",
    separator: ",",
    read: (value, previous) => [...previous, parseListenAddress(value)],
  }),
}
