/** By which ways clients come to an agent. */
import { UsageError } from "../usage-error.ts"
import { readPort } from "./readers.ts"
import { setting, toggle } from "./setting.ts"

export interface ListenPlace {
  readonly host: string
  readonly port: number
}

export const waySettings = {
  tunnelUrl: setting<URL | undefined>({
    flag: "--tunnel-url <url>",
    env: "TRUNKLINE_TUNNEL_URL",
    unit: "URL",
    default: undefined,
    defaultText: "none",
    help: "listen here and have the gateway come to this URL, at which something else publishes what --listen says",
    read: readTunnelUrl,
    yieldsTo: "noTunnel",
  }),
  withSocket: setting<boolean>({
    ...toggle,
    flag: "--with-socket",
    env: "TRUNKLINE_WITH_SOCKET",
    help: "with --tunnel-url, keep a connection to the gateway too: it is preferred, and the URL is for when it is away",
  }),
  noTunnel: setting<boolean>({
    ...toggle,
    flag: "--no-tunnel",
    env: "TRUNKLINE_NO_TUNNEL",
    help: "no gateway: clients dial what --listen says, with --gateway http://HOST:PORT",
    yieldsTo: "tunnelUrl",
  }),
  listen: setting<ListenPlace | undefined>({
    flag: "--listen <host:port>",
    env: "TRUNKLINE_LISTEN",
    unit: "address and TCP port",
    default: undefined,
    defaultText: "127.0.0.1:7860",
    help: "where to listen for --tunnel-url or --no-tunnel; port 0 takes any free one",
    read: readListenPlace,
  }),
}

function readTunnelUrl(value: string): URL {
  const url = URL.parse(value)
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:"))
    throw new UsageError(`"${value}" is not an http: or https: URL: the gateway has to reach it, as in https://build-7.example.com`)
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw new UsageError(
      "the URL holds credentials, a query or a fragment: whoever may list endpoints sees it, and the link's path is put behind it",
    )
  return url
}

/** `PORT`, `HOST:PORT`, or `[ADDRESS]:PORT` for IPv6. */
function readListenPlace(value: string): ListenPlace {
  const [, bracketed, host = bracketed ?? "127.0.0.1", port = ""] = /^(?:\[([0-9a-fA-F:.]+)\]:|([^:[\]]+):)?(\d+)$/.exec(value) ?? []
  if (port === "") throw new UsageError(`"${value}" is not a place to listen: write HOST:PORT, as in 127.0.0.1:7860 or [::1]:7860`)
  return { host, port: readPort(port) }
}
