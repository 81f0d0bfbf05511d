/** What a request can be: methods, targets, headers and bodies. */
import { gzipSync } from "node:zlib"
import { type Case, chunked, chunkedUpload, noise, row, sliced, untilClose, upload } from "./case.ts"
import { knownMethods } from "./differences.ts"
import type { Header } from "./raw-http.ts"

const unknownMethods = ["M-SEARCH", "FROBNICATE", "LINK", "UNLINK", "REBIND", "get", "Post", "X!#$%&'*+.^_`|~-9"]

const methods: readonly Case[] = knownMethods.flatMap((method) => [
  row(`${method} with a sized body`, upload("some body", { method, path: "/thing" }), chunked({ body: "an answer" })),
  row(`${method} with a body in chunks`, chunkedUpload("some body", { method, path: "/thing" }, 4), untilClose({ body: "an answer" })),
  row(`${method} with a body of no bytes`, upload("", { method, path: "/thing" })),
])

const withoutBody: readonly Case[] = [...knownMethods, ...unknownMethods].map((method) =>
  row(`${method} without a body`, { method, path: "/thing?q=1" }),
)

const targets: readonly Case[] = [
  ...[
    "/",
    "//",
    "///a//b///",
    "/a/../b",
    "/../../etc/passwd",
    "/./a/.",
    "/..",
    "/a/%2e%2e/b",
    "/a%2Fb",
    "/a%2fb",
    "/%00",
    "/%",
    "/%zz",
    "/%C3%A9",
  ],
  ...[
    "/?",
    "/??",
    "/?a=b&&c",
    "/a?b?c",
    "/?a=%20+%2B",
    "/a;v=1,2",
    "/a:b@c",
    "/a=b&c",
    "/~u/!$&'()*+,;=:@",
    "/[a]",
    "/{a}",
    "/a|b",
    "/a^b",
    "/`a`",
  ],
  ...[
    '/"a"',
    "/<a>",
    "/a\\b",
    "/\\\\host\\share",
    "/a#b",
    "/?a#b",
    "/a%23b",
    "/http://example.com/",
    "/@host",
    "/:80",
    "/v1/agents/x/http/80/",
    "/healthz",
  ],
  ...[
    "/.trunkline",
    "/.trunklines/",
    `/${"a".repeat(8_192)}`,
    `/?${"b".repeat(8_192)}`,
    "/caf\xc3\xa9",
    "/caf\xe9",
    "/\xe2\x98\x83",
    "/a?\xff",
    '/a?"',
    "/a?`",
  ],
].map((path) => row(`GET ${path.length > 60 ? `${path.slice(0, 8)}… of ${path.length} bytes` : path}`, { path }))

const star: readonly Case[] = [row("OPTIONS *", { method: "OPTIONS", path: "*" })]

const oneHeader: readonly Header[] = [
  ["X-Empty", ""],
  ["X-Blank-Inside", "a  b\tc"],
  ["X-Comma", "a,b ,, c,"],
  ["X-Quotes", 'a="b, \\"c\\""; d'],
  ["X-Latin-1", "caf\xe9"],
  ["X-UTF-8", "caf\xc3\xa9 \xe2\x98\x83 \xf0\x9f\x8c\x8d"],
  ["X-Half-UTF-8", "\xc3\xa9\xe9"],
  ["X-Long", "x".repeat(8_192)],
  ["X-Longer", "x".repeat(65_536)],
  ["!#$%&'*+.^_`|~9", "a name of everything"],
  ["__proto__", "a"],
  ["constructor", "a"],
  ["X_Underscore", "a"],
  ["9", "a digit"],
  ["Accept", "*/*"],
  ["Accept", "text/html;q=0.9,*/*;q=0.1"],
  ["Accept-Encoding", "identity"],
  ["Accept-Encoding", "gzip, deflate, br, zstd"],
  ["Accept-Encoding", "gzip;q=0, *"],
  ["Accept-Language", "en-GB,en;q=0.8"],
  ["Authorization", "Basic dXNlcjpwYXNz"],
  ["Authorization", 'Digest username="a", nonce="b"'],
  ["Authorization", "Bearer of-the-service"],
  ["Cache-Control", "no-cache"],
  ["Content-Type", "text/plain"],
  ["Cookie", 'a=1; b=2; c="3"'],
  ["Cookie", "trunkline=1; Trunkline-Session=2; a trunkline-session-x=3"],
  ["Cookie", "a=1; trunkline-session=not.ours; b=2"],
  ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["DNT", "1"],
  ["From", "a@example.com"],
  ["If-Match", '"a", W/"b"'],
  ["If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["If-None-Match", "*"],
  ["If-Range", '"a"'],
  ["Last-Event-ID", "17"],
  ["Max-Forwards", "0"],
  ["Origin", "https://example.com"],
  ["Origin", "null"],
  ["Pragma", "no-cache"],
  ["Priority", "u=1, i"],
  ["Range", "bytes=0-0,5-, -3"],
  ["Referer", "https://example.com/?a=b"],
  ["Sec-Fetch-Site", "cross-site"],
  ["Sec-WebSocket-Protocol", "a, b"],
  ["Depth", "infinity"],
  ["Destination", "http://example.com/elsewhere"],
  ["If", "(<urn:uuid:1>)"],
  ["SOAPAction", '""'],
  ["User-Agent", "curl/8 (a; b)"],
  ["Upgrade-Insecure-Requests", "1"],
  ["Via", "1.1 somebody"],
  ["Warning", '199 - "a"'],
  ["X-HTTP-Method-Override", "DELETE"],
  ["X-Real-IP", "10.0.0.1"],
  ["X-Request-ID", "mine"],
  ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
  ["X-Forwarded-For", "10.0.0.1"],
  ["X-Forwarded-For", "evil, 10.0.0.1"],
  ["X-Forwarded-Host", "evil.example"],
  ["X-Forwarded-Proto", "https"],
  ["X-Forwarded-Prefix", "/evil"],
  ["Forwarded", "for=10.0.0.1;host=evil.example"],
  ["CF-Connecting-IP", "10.0.0.1"],
  ["CF-Ray", "1"],
  ["TE", "trailers"],
  ["Keep-Alive", "timeout=5"],
  ["Proxy-Connection", "keep-alive"],
  ["Connection", "keep-alive"],
  ["Connection", "close"],
  ["Upgrade", "h2c"],
]

const repeated: readonly (readonly [string, readonly Header[]])[] = [
  [
    "X-Many three times",
    [
      ["X-Many", "a"],
      ["x-many", "b"],
      ["X-MANY", "a"],
    ],
  ],
  [
    "Accept twice",
    [
      ["Accept", "a/b"],
      ["Accept", "c/d"],
    ],
  ],
  [
    "Cookie twice",
    [
      ["Cookie", "a=1"],
      ["Cookie", "b=2"],
    ],
  ],
  [
    "Set-Cookie twice in a request",
    [
      ["Set-Cookie", "a=1, 2"],
      ["Set-Cookie", "b=2"],
    ],
  ],
  [
    "Via twice",
    [
      ["Via", "1.1 a"],
      ["Via", "1.1 b"],
    ],
  ],
  [
    "X-Forwarded-For twice",
    [
      ["X-Forwarded-For", "10.0.0.1"],
      ["X-Forwarded-For", "10.0.0.2"],
    ],
  ],
  [
    "empty and not",
    [
      ["X-Many", ""],
      ["X-Many", "b"],
      ["X-Many", ""],
    ],
  ],
  [
    "a header that Connection names",
    [
      ["Connection", "close, X-Hop"],
      ["X-Hop", "1"],
      ["X-Stays", "2"],
    ],
  ],
  ["Connection names the length and the host", [["Connection", "Content-Length, Host"]]],
  ["Connection names what we write", [["Connection", "X-Forwarded-For, Forwarded"]]],
  ["100 headers", Array.from({ length: 100 }, (_, index): Header => [`X-Number-${index}`, `value ${index}`])],
  ["1,000 headers", Array.from({ length: 1_000 }, (_, index): Header => [`X-Number-${index}`, `value ${index}`])],
  ["2,000 values of one", Array.from({ length: 2_000 }, (_, index): Header => ["X-One", String(index)])],
]

const headers: readonly Case[] = [
  ...oneHeader.map(([name, value]) => row(`${name}: ${value.length > 60 ? `${value.length} bytes` : value}`, { headers: [[name, value]] })),
  ...repeated.map(([title, list]) => row(title, { headers: list })),
  row(
    "Connection names the length of a body",
    upload("some body", {
      headers: [
        ["Connection", "content-length, X-Hop"],
        ["X-Hop", "1"],
      ],
    }),
  ),
]

const gzipped = gzipSync("a text ".repeat(1_000))

const bodies: readonly Case[] = [
  row("a gzip body stays that", upload(gzipped, { headers: [["Content-Encoding", "gzip"]] })),
  row("a body that only says gzip", upload("no gzip", { headers: [["Content-Encoding", "gzip"]] })),
  row("br, deflate, zstd and what nobody knows", upload("\0\xff", { headers: [["Content-Encoding", "br, deflate, zstd, x-odd"]] })),
  row("a form", upload("a=b&c=%20", { headers: [["Content-Type", "application/x-www-form-urlencoded"]] })),
  row(
    "parts",
    upload('--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', {
      headers: [["Content-Type", "multipart/form-data; boundary=x"]],
    }),
  ),
  row("what looks like a request", upload("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
  row("chunks that look like a request", chunkedUpload("0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")),
  row("chunks of one byte", chunkedUpload("one by one", {}, 1)),
  row("chunks with extensions", {
    method: "POST",
    headers: [["Transfer-Encoding", "chunked"]],
    body: () => ['3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n'],
  }),
  row("trailers", {
    method: "POST",
    headers: [
      ["Transfer-Encoding", "chunked"],
      ["Trailer", "X-T"],
    ],
    body: () => ["3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"],
  }),
  row("an upload that expects 100", upload("some body", { headers: [["Expect", "100-continue"]] })),
  row("a body of nothing that expects 100", upload("", { headers: [["Expect", "100-continue"]] })),
]

const versions: readonly Case[] = [
  row("HTTP/1.0", { version: "1.0" }),
  row("HTTP/1.0 that would stay", { version: "1.0", headers: [["Connection", "keep-alive"]] }),
  row("HTTP/1.0 with a body", { ...upload("some body"), version: "1.0" }),
  row("HTTP/1.0 answered in chunks", { version: "1.0" }, chunked({ body: "an answer" })),
  row("HTTP/1.0 answered to the close", { version: "1.0" }, untilClose({ body: "an answer" })),
]

async function* slowly(body: Buffer): AsyncGenerator<Buffer> {
  for (const piece of sliced(body, 1)) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    yield piece
  }
}

const slow: readonly Case[] = [
  row("a sized body byte by byte", { ...upload("a slow body"), body: () => slowly(Buffer.from("a slow body")) }),
  row("chunks byte by byte", { ...chunkedUpload(""), body: () => slowly(Buffer.from("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")) }),
]

export const requestCases: Readonly<Record<string, readonly Case[]>> = {
  methods: [...withoutBody, ...methods],
  targets: [...targets, ...star],
  headers,
  bodies,
  versions,
  "slow uploads": slow,
}

/** Around the sizes of what carries them, and some that are large. */
export const sizes = [1, 2, 1_023, 4_096, 16_383, 16_384, 65_535, 65_536, 65_537, 262_143, 262_145, 1_048_575, 1_048_577, 10_000_000]

export const uploadCases: readonly Case[] = sizes.flatMap((bytes) => [
  row(`${bytes} bytes up, sized`, upload(noise(bytes))),
  row(`${bytes} bytes up, in chunks`, chunkedUpload(noise(bytes))),
])
