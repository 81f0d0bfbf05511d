/** How a forward that is ready is shown: a line for people, a document for programs. */
import { type ListenAddress, type StreamTarget, targetText } from "@trunkline/protocol"
import { loopback } from "./forward-spec.ts"

export type ReadyForward =
  | { readonly type: "local" | "reverse"; readonly agent: string; readonly listen: ListenAddress; readonly target: StreamTarget }
  | { readonly type: "socks"; readonly agent: string; readonly listen: ListenAddress }

/** `127.0.0.1:5432`: the address of the two loopback ones that every program can use. */
export const listenText = (address: ListenAddress): string =>
  "path" in address ? address.path : targetText({ ...address, host: shownHost(address.host) })

const shownHost = (host: string): string => (host === loopback ? "127.0.0.1" : host)

/** `127.0.0.1:5432 -> build-7 localhost:5432`, which is read from left to right, whoever listens. */
export function forwardLine(forward: ReadyForward): string {
  const listen = listenText(forward.listen)
  switch (forward.type) {
    case "local":
      return `${listen} -> ${forward.agent} ${targetText(forward.target)}`
    case "reverse":
      return `${forward.agent} ${listen} -> ${targetText(forward.target)}`
    case "socks":
      return `${listen} -> ${forward.agent}, SOCKS5`
  }
}

/** For `-o json`. */
export function forwardDocument(forward: ReadyForward): object {
  const { type, agent, listen } = forward
  const shown = "path" in listen ? listen : { host: shownHost(listen.host), port: listen.port }
  return { type, agent, listen: shown, ...(forward.type === "socks" ? {} : { target: forward.target }) }
}

/** Whether nobody but programs of that machine can connect. */
export const isPrivate = (address: ListenAddress): boolean =>
  "path" in address || address.host === loopback || address.host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(address.host)
