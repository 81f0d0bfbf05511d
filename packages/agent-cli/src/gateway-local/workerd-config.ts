/** The workerd configuration of a gateway on this machine, as Cap'n Proto text. Pure: paths and names in, text out. */
import { specialRanges } from "../targets/network.ts"

/** The same date and flags as `packages/gateway/wrangler.jsonc`, so that the bundle behaves alike on both platforms. */
export const compatibilityDate = "2026-11-15"
export const compatibilityFlags = ["enable_request_signal", "no_web_socket_compression"] as const

/**
 * Where the gateway may go when it dials an agent at its URL: anywhere but where machines keep what is theirs alone, such as the
 * metadata service of a cloud. workerd's own default are public addresses, which would leave out every agent at home.
 */
const reachable = ["public", "private"] as const

/** Environment variables that become text bindings; workerd reads them itself, so their values are in no file and no argv. */
export const textBindingNames = ["GATEWAY_SECRET", "GATEWAY_SECRET_PREVIOUS", "TAKEOVER", "HTTP_DOMAIN"] as const
export type TextBinding = (typeof textBindingNames)[number]

export interface WorkerdConfigOptions {
  /** `HOST:PORT`, an IPv6 host in brackets; port 0 takes any free port. */
  readonly address: string
  /** File name of the bundle inside the directory given to workerd as import path. */
  readonly bundleName: string
  /** Existing directories: Durable Objects, index and values of the KV namespace. */
  readonly objectsDirectory: string
  readonly kvIndexDirectory: string
  readonly kvBlobsDirectory: string
  /** Bindings whose environment variable is set. One that is left out is absent in the Worker. */
  readonly textBindings: readonly TextBinding[]
}

/**
 * A Cap'n Proto text literal. Everything but printable ASCII is escaped byte by byte, because a path may hold
 * any byte but NUL and the configuration language takes escapes as bytes.
 */
export const capnpText = (value: string): string => {
  let text = '"'
  for (const byte of new TextEncoder().encode(value)) {
    const character = String.fromCharCode(byte)
    if (character === '"' || character === "\\") text += `\\${character}`
    else if (byte >= 0x20 && byte <= 0x7e) text += character
    else text += `\\${byte.toString(8).padStart(3, "0")}`
  }
  return `${text}"`
}

/**
 * The text of the configuration. The unique keys name the folders of the stored objects: changing one orphans
 * everything stored under it.
 */
export const workerdConfig = (options: WorkerdConfigOptions): string => {
  const text = options.textBindings.map((name) => `    (name = "${name}", fromEnvironment = "${name}"),\n`).join("")
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "gateway", worker = .gateway),
    (name = "kv", worker = .kv),
    (name = "internet", network = (
      allow = [${reachable.map(capnpText).join(", ")}],
      deny = [${specialRanges.map(capnpText).join(", ")}],
      tlsOptions = (trustBrowserCas = true),
    )),
    (name = "objects", disk = (path = ${capnpText(options.objectsDirectory)}, writable = true)),
    (name = "kv-index", disk = (path = ${capnpText(options.kvIndexDirectory)}, writable = true)),
    (name = "kv-blobs", disk = (path = ${capnpText(options.kvBlobsDirectory)}, writable = true)),
  ],
  sockets = [(name = "http", address = ${capnpText(options.address)}, http = (), service = "gateway")],
);
const gateway :Workerd.Worker = (
  modules = [(name = "gateway.js", esModule = embed ${capnpText(`/${options.bundleName}`)})],
  compatibilityDate = "${compatibilityDate}",
  compatibilityFlags = [${compatibilityFlags.map(capnpText).join(", ")}],
  durableObjectNamespaces = [
    (className = "AgentSocket", uniqueKey = "gateway-AgentSocket", enableSql = true),
    (className = "Registry", uniqueKey = "gateway-Registry", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "AGENT", durableObjectNamespace = "AgentSocket"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "KV", kvNamespace = (name = "kv", props = (json = "{\\"namespace\\":\\"main\\"}"))),
${text}  ],
);
const kv :Workerd.Worker = (
  modules = [(name = "kv.js", bundled = "/workerd/kv.js")],
  compatibilityDate = "${compatibilityDate}",
  durableObjectNamespaces = [(className = "KVNamespace", uniqueKey = "KVNamespace", enableSql = true)],
  durableObjectStorage = (localDisk = "kv-index"),
  bindings = [
    (name = "SHARD", durableObjectNamespace = "KVNamespace"),
    (name = "BLOBS", service = "kv-blobs"),
  ],
);
`
}
