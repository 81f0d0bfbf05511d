/** The head of a request as it goes to the service: what the client wrote, less what belongs to one connection, with a length that holds (SPEC KH1, KH3, KH5). */
import { endToEndHeaders, type HttpOpen, limits, type StreamTarget, TunnelError } from "@trunkline/protocol"

/** Names and values in turn, as Node takes them. Throws `bad-request` for a head that services would understand differently, and `too-large`. */
export function requestHead(open: HttpOpen, target: StreamTarget, tls: boolean): string[] {
  const { method, headers, bodyBytes } = open
  if (method !== method.toUpperCase()) throw new TunnelError("bad-request", `methods are written in capitals: ${method.toUpperCase()}`)
  checkSize(headers)
  // Who has a body sends it at once; nobody waits for a service's 100.
  const head = endToEndHeaders(headers).filter(([name]) => name.toLowerCase() !== "expect")
  const valuesOf = (wanted: string): string[] => head.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value)
  const hosts = valuesOf("host")
  if (hosts.length > 1) throw new TunnelError("bad-request", `a request has one Host, not ${hosts.length}`)
  if (hosts.length === 0) head.unshift(["Host", authorityOf(target, tls)])
  const lengths = valuesOf("content-length")
  checkLength(lengths, bodyBytes)
  if (bodyBytes === null) head.push(["Transfer-Encoding", "chunked"])
  else if (bodyBytes !== undefined && lengths.length === 0) head.push(["Content-Length", String(bodyBytes)])
  return head.flat()
}

function checkSize(headers: HttpOpen["headers"]): void {
  const bytes = headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (bytes <= limits.httpHeadBytesMax) return
  throw new TunnelError("too-large", `the request has ${bytes} bytes of headers, allowed are ${limits.httpHeadBytesMax}`)
}

/** Two lengths, or a length and none, are how one request is smuggled in another. */
function checkLength(lengths: readonly string[], bodyBytes: number | null | undefined): void {
  const [length] = lengths
  if (length === undefined) return
  if (lengths.length > 1) throw new TunnelError("bad-request", `a request has one Content-Length, not ${lengths.length}`)
  if (/^\d{1,16}$/.test(length) && Number(length) === (bodyBytes === undefined ? 0 : bodyBytes)) return
  const announced = bodyBytes === null ? "of unknown length" : `of ${bodyBytes ?? 0} bytes`
  throw new TunnelError("bad-request", `Content-Length is "${length.slice(0, 32)}", and a body ${announced} was announced`)
}

function authorityOf(target: StreamTarget, tls: boolean): string {
  if ("path" in target) return "localhost"
  const host = target.host.includes(":") ? `[${target.host}]` : target.host
  return target.port === (tls ? 443 : 80) ? host : `${host}:${target.port}`
}
