/** Where the owner says that an HTTP service is, as a URL: which socket, and whether TLS is spoken there. */
import { type StreamTarget, targetText } from "@trunkline/protocol"
import { UsageError } from "../usage-error.ts"
import { readHost } from "./address.ts"
import { isNormalPath, type Rule, readRule } from "./rule.ts"

/** An HTTP service: where it listens and whether TLS is spoken there. */
export interface HttpService {
  readonly target: StreamTarget
  readonly tls: { readonly verify: boolean } | undefined
}

export interface NamedService {
  readonly url: string
  readonly service: HttpService
  /** That it is named allows it. */
  readonly rule: Rule
}

const forms = "http://HOST:PORT, https://HOST:PORT, https+insecure://HOST:PORT (any certificate will do), unix:/PATH or unix+tls:/PATH"

/** Throws UsageError. */
export function readServiceUrl(url: string): NamedService {
  const [, scheme = "", rest = ""] = /^(https?|https\+insecure|unix|unix\+tls):(.*)$/s.exec(url) ?? []
  switch (scheme) {
    case "unix":
    case "unix+tls": {
      if (!isNormalPath(rest) || /\*|\/$/.test(rest)) break
      return {
        url,
        service: { target: { path: rest }, tls: scheme === "unix" ? undefined : { verify: true } },
        rule: readRule(`http:unix:${rest}`),
      }
    }
    case "http":
    case "https":
    case "https+insecure": {
      const [, bracketed, bare = "", digits = scheme === "http" ? "80" : "443"] =
        /^\/\/(?:\[([^\]]*)\]|([^:/?#@[\]]+))(?::(\d{1,5}))?\/?$/.exec(rest) ?? []
      const host = readHost(bracketed ?? bare)
      const port = Number(digits)
      if (host === undefined || !(port >= 1 && port <= 65_535)) break
      const rule = readRule(`http:${targetText({ host: host.type === "name" ? host.name : host.address.text, port })}`)
      const target = { host: host.type === "name" ? host.name : host.connectText, port }
      return { url, service: { target, tls: scheme === "http" ? undefined : { verify: scheme === "https" } }, rule }
    }
  }
  throw new UsageError(`"${url}" is not the URL of a service: write ${forms}, without anything behind it`)
}

/** Throws UsageError for what is no port. */
export function readServicePort(text: string): number {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(port <= 65_535)) throw new UsageError(`"${text}" is not a port: a service is named by a number from 1 to 65535`)
  return port
}
