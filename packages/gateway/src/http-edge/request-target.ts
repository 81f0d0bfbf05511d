/** The request line as it came. Parsing a URL resolves dot segments and rewrites characters, and a service is to see what its client wrote. */
import { TunnelError } from "@trunkline/protocol"
import { bytesOfText } from "./field-value.ts"

export interface RequestTarget {
  readonly scheme: "http" | "https"
  /** The host and port that were asked for, as written. */
  readonly authority: string
  /** Path and query, or `*`; one character a byte. */
  readonly path: string
}

/** Throws `bad-request` for a Host that could be read in two ways. */
export function requestTarget(request: Request): RequestTarget {
  const [, scheme, written = "", rest = ""] = /^(https?):\/\/([^/?#]*)([^#]*)/.exec(request.url) ?? []
  // Absent when another Worker calls. The runtime puts it in front of the path as it is, so `OPTIONS *` gives `http://host*`.
  const authority = request.headers.get("host") ?? written
  if (scheme === undefined || /[\s/?#@\\*]/.test(authority)) throw new TunnelError("bad-request", "the Host header is not a host")
  const path = written === `${authority}*` ? "*" : rest.startsWith("/") ? rest : `/${rest}`
  return { scheme: scheme === "https" ? "https" : "http", authority, path: bytesOfText(path) }
}

/** The authority in lower case, without a port and without the dot that ends an absolute name. */
export const hostOf = (authority: string): string => authority.replace(/:\d*$/, "").replace(/\.$/, "").toLowerCase()
