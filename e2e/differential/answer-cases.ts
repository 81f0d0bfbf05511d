/** What an answer can be: statuses, headers, framings and bodies. */
import { setTimeout as pause } from "node:timers/promises"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import { answerHead, answering, bodiless, type Case, chunked, noise, row, sized, sliced, untilClose } from "./case.ts"
import { chunk, type Header } from "./raw-http.ts"
import type { Script } from "./raw-service.ts"
import { sizes } from "./request-cases.ts"

/** All that are registered or in use, and some that nobody uses. */
const statuses = [
  ...[200, 201, 202, 203, 205, 206, 207, 208, 218, 226, 299, 300, 301, 302, 303, 305, 306, 307, 308, 310, 399],
  ...[
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 419, 420, 421, 422, 423, 424, 425, 426,
    428,
  ],
  ...[
    429, 430, 431, 440, 444, 449, 451, 460, 463, 494, 495, 496, 497, 498, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511,
  ],
  ...[520, 521, 522, 523, 524, 525, 526, 527, 529, 530, 540, 561, 598, 599],
]

const statusCases: readonly Case[] = [
  ...statuses.map((status) =>
    row(`${status} with a body`, {}, sized({ status, reason: "As The Service Says", headers: [["Location", "/x"]] })),
  ),
  ...[204, 304].flatMap((status) => [
    row(
      `${status} with headers`,
      {},
      bodiless({
        status,
        headers: [
          ["ETag", '"a"'],
          ["X-B", "1"],
          ["Content-Type", "text/plain"],
        ],
      }),
    ),
    row(`${status} with a length`, {}, bodiless({ status, headers: [["Content-Length", "1234"]] })),
    row(`HEAD and ${status}`, { method: "HEAD" }, bodiless({ status, headers: [["ETag", '"a"']] })),
  ]),
  ...[205, 404, 500].map((status) => row(`${status} without a byte`, {}, sized({ status, body: "" }))),
  ...[600, 999].map((status) => row(`${status}`, {}, sized({ status }))),
]

const reasons = ["", "OK", "ok", "A Long And Winding Reason", "Caf\xe9", "Caf\xc3\xa9", "a\tb", "200 OK", "!"]
const reasonCases: readonly Case[] = [
  ...reasons.map((reason) => row(`the reason "${reason}"`, {}, sized({ reason }))),
  ...reasons.slice(0, 2).map((reason) => row(`404 and the reason "${reason}"`, {}, sized({ status: 404, reason }))),
  row(
    "a status line without a reason's blank",
    {},
    answering(() => ["HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"]),
  ),
]

const oneHeader: readonly Header[] = [
  ["X-Empty", ""],
  ["X-Comma", "a,b ,, c,"],
  ["X-Latin-1", "caf\xe9"],
  ["X-UTF-8", "caf\xc3\xa9 \xe2\x98\x83"],
  ["X-Long", "x".repeat(8_192)],
  ["X-Longer", "x".repeat(65_536)],
  ["!#$%&'*+.^_`|~9", "a name of everything"],
  ["__proto__", "a"],
  ["Accept-Ranges", "bytes"],
  ["Access-Control-Allow-Origin", "https://example.com"],
  ["Access-Control-Expose-Headers", "X-A"],
  ["Age", "17"],
  ["Allow", ""],
  ["Alt-Svc", 'h3=":443"; ma=1'],
  ["Cache-Control", "private, max-age=0"],
  ["CDN-Cache-Control", "max-age=600"],
  ["Clear-Site-Data", '"*"'],
  ["Content-Disposition", "attachment; filename*=UTF-8''%c3%a9"],
  ["Content-Language", "en"],
  ["Content-Location", "/elsewhere"],
  ["Content-Range", "bytes 0-1/2"],
  ["Content-Security-Policy", "default-src 'none'; report-uri /r"],
  ["Content-Type", "text/html"],
  ["Content-Type", "text/html; charset=iso-8859-1"],
  ["Content-Type", "text/event-stream"],
  ["Content-Type", "nonsense"],
  ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Date", "today"],
  ["ETag", 'W/"a"'],
  ["Expires", "0"],
  ["Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Link", "</a.css>; rel=preload"],
  ["Location", "http://localhost:3000/there?a#b"],
  ["Location", "/there"],
  ["Location", "//example.com"],
  ["NEL", "{}"],
  ["Proxy-Authenticate", "Basic"],
  ["Refresh", "1; url=/"],
  ["Retry-After", "1"],
  ["Server", "a/1"],
  ["Server-Timing", "a;dur=1"],
  ["Strict-Transport-Security", "max-age=1"],
  ["Vary", "*"],
  ["Via", "1.1 somebody"],
  ["WWW-Authenticate", 'Basic realm="a, b"'],
  ["X-Accel-Buffering", "no"],
  ["X-Powered-By", "a"],
  ["X-Request-ID", "the service's"],
  ["CF-Ray", "the service's"],
  ["CF-Cache-Status", "HIT"],
  ["X-Forwarded-For", "of the answer"],
  ["Set-Cookie", "a=1; Path=/; Expires=Sun, 06 Nov 1994 08:49:37 GMT; HttpOnly"],
  ["Set-Cookie", "trunkline=1"],
  ["Set-Cookie", "trunkline-session=1"],
  ["Set-Cookie", "__Host-trunkline-session=1; Path=/; Secure"],
  ["Trunkline-Error", "denied"],
  ["Keep-Alive", "timeout=5"],
  ["Connection", "keep-alive"],
  ["Proxy-Connection", "close"],
  ["Upgrade", "h2c"],
]

const headerLists: readonly (readonly [string, readonly Header[]])[] = [
  [
    "Set-Cookie three times",
    [
      ["Set-Cookie", "a=1, 2"],
      ["set-cookie", "b=2; Path=/"],
      ["Set-Cookie", "a=3"],
    ],
  ],
  [
    "Vary twice",
    [
      ["Vary", "a"],
      ["Vary", "b"],
    ],
  ],
  [
    "X-Many three times",
    [
      ["X-Many", "a"],
      ["x-many", ""],
      ["X-MANY", "a"],
    ],
  ],
  [
    "WWW-Authenticate twice",
    [
      ["WWW-Authenticate", "Basic"],
      ["WWW-Authenticate", "Bearer"],
    ],
  ],
  [
    "Link twice",
    [
      ["Link", "<a>"],
      ["Link", "<b>"],
    ],
  ],
  [
    "Content-Type twice",
    [
      ["Content-Type", "text/a"],
      ["Content-Type", "text/b"],
    ],
  ],
  [
    "a header that Connection names",
    [
      ["Connection", "X-Hop"],
      ["X-Hop", "1"],
      ["X-Stays", "2"],
    ],
  ],
  ["100 headers", Array.from({ length: 100 }, (_, index): Header => [`X-Number-${index}`, `value ${index}`])],
  ["1,000 headers", Array.from({ length: 1_000 }, (_, index): Header => [`X-Number-${index}`, `value ${index}`])],
  ["60 cookies", Array.from({ length: 60 }, (_, index): Header => ["Set-Cookie", `c${index}=${"v".repeat(1_000)}`])],
]

const headerCases: readonly Case[] = [
  ...oneHeader.map(([name, value]) =>
    row(`${name}: ${value.length > 60 ? `${value.length} bytes` : value}`, {}, sized({ headers: [[name, value]] })),
  ),
  ...headerLists.map(([title, headers]) => row(title, {}, sized({ headers }))),
  row(
    "a folded line",
    {},
    answering(() => ["HTTP/1.1 200 OK\r\nX-Folded: a\r\n  b\r\nContent-Length: 2\r\n\r\nok"]),
  ),
]

const plain = Buffer.from("a text that can be made smaller ".repeat(500))
const encodings: readonly (readonly [string, Buffer])[] = [
  ["gzip", gzipSync(plain)],
  ["x-gzip", gzipSync(plain)],
  ["deflate", deflateSync(plain)],
  ["br", brotliCompressSync(plain)],
  ["zstd", noise(1_000)],
  ["x-odd", plain],
  ["identity", plain],
  ["gzip, br", brotliCompressSync(gzipSync(plain))],
]

const encodingCases: readonly Case[] = encodings.flatMap(([encoding, body]) =>
  [sized, chunked].flatMap((make) =>
    ["gzip, br", "identity"].map((accepted) =>
      row(
        `${encoding}, ${make.name}, asked for ${accepted}`,
        { headers: [["Accept-Encoding", accepted]] },
        make({
          headers: [
            ["Content-Encoding", encoding],
            ["Content-Type", "text/html"],
          ],
          body,
        }),
      ),
    ),
  ),
)

const brokenEncoding: readonly Case[] = [
  row("a body that only says gzip", {}, sized({ headers: [["Content-Encoding", "gzip"]], body: "no gzip" })),
  row("gzip that ends too early", {}, chunked({ headers: [["Content-Encoding", "gzip"]], body: gzipSync(plain).subarray(0, 60) })),
  row("gzip of no bytes", {}, sized({ headers: [["Content-Encoding", "gzip"]], body: "" })),
  row(
    "HEAD of gzip",
    { method: "HEAD" },
    bodiless({
      headers: [
        ["Content-Encoding", "gzip"],
        ["Content-Length", "71"],
      ],
    }),
  ),
]

const ranges: readonly Case[] = [
  row(
    "a range",
    { headers: [["Range", "bytes=2-4"]] },
    sized({ status: 206, reason: "Partial Content", headers: [["Content-Range", "bytes 2-4/9"]], body: "cde" }),
  ),
  row(
    "two ranges",
    { headers: [["Range", "bytes=0-0,2-2"]] },
    sized({
      status: 206,
      headers: [["Content-Type", "multipart/byteranges; boundary=x"]],
      body: "--x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x\r\nContent-Range: bytes 2-2/9\r\n\r\nc\r\n--x--\r\n",
    }),
  ),
  row(
    "a range of a gzip body",
    { headers: [["Range", "bytes=1-5"]] },
    sized({
      status: 206,
      headers: [
        ["Content-Encoding", "gzip"],
        ["Content-Range", "bytes 1-5/9"],
      ],
      body: "\x1f\x8b\x08\0\0",
    }),
  ),
  row(
    "a range that is not there",
    { headers: [["Range", "bytes=99-"]] },
    sized({ status: 416, headers: [["Content-Range", "bytes */9"]], body: "" }),
  ),
]

const wait = (): Promise<void> => pause(5)

/** The head and the body in pieces, with time between them. */
const inPieces =
  (pieces: readonly string[], framing: "sized" | "chunked" | "close"): Script =>
  async (exchange) => {
    await exchange.body()
    const bytes = pieces.join("").length
    const headers: readonly Header[] =
      framing === "sized" ? [["Content-Length", String(bytes)]] : framing === "chunked" ? [["Transfer-Encoding", "chunked"]] : []
    for (const piece of sliced(Buffer.from(answerHead({ headers })), 7)) {
      await exchange.write([piece])
      await wait()
    }
    for (const piece of pieces) {
      await exchange.write([framing === "chunked" ? chunk(piece) : piece])
      await wait()
    }
    if (framing === "chunked") await exchange.write(["0\r\n\r\n"])
    if (framing === "close") exchange.socket.end()
  }

const framings: readonly Case[] = [
  ...(["sized", "chunked", "close"] as const).map((framing) =>
    row(`a slow writer, ${framing}`, {}, inPieces([..."slowly", "and then more", "x".repeat(10_000)], framing)),
  ),
  row("HEAD with a length", { method: "HEAD" }, bodiless({ headers: [["Content-Length", "1234"]] })),
  row("HEAD of nothing", { method: "HEAD" }, bodiless({ headers: [["Content-Length", "0"]] })),
  row("HEAD of a large thing", { method: "HEAD" }, bodiless({ headers: [["Content-Length", "1099511627776"]] })),
  row("HEAD of chunks", { method: "HEAD" }, bodiless({ headers: [["Transfer-Encoding", "chunked"]] })),
  row("HEAD without a word of a body", { method: "HEAD" }, bodiless()),
  row("an empty body, sized", {}, sized({ body: "" })),
  row("an empty body, in chunks", {}, chunked({ body: "" })),
  row("an empty body, to the close", {}, untilClose({ body: "" })),
  row("chunks of one byte", {}, chunked({ body: "x".repeat(300) }, 1)),
  row(
    "chunks with extensions",
    {},
    answering(() => [answerHead({ headers: [["Transfer-Encoding", "chunked"]] }), '3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n']),
  ),
  row(
    "a chunk's size with zeros in front",
    {},
    answering(() => [answerHead({ headers: [["Transfer-Encoding", "chunked"]] }), "0003\r\nabc\r\n000\r\n\r\n"]),
  ),
  row(
    "trailers",
    {},
    answering(() => [
      answerHead({
        headers: [
          ["Transfer-Encoding", "chunked"],
          ["Trailer", "X-T"],
        ],
      }),
      "3\r\nabc\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
    ]),
  ),
  row(
    "a length with zeros in front",
    {},
    answering(() => [answerHead({ headers: [["Content-Length", "0002"]] }), "ok"]),
  ),
  row(
    "the same length twice in one",
    {},
    answering(() => [answerHead({ headers: [["Content-Length", "2"]] }), "ok"]),
  ),
  row("an answer of HTTP/1.0", {}, async (exchange) => {
    await exchange.body()
    await exchange.write(["HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the close"])
    exchange.socket.end()
  }),
  row(
    "an answer of HTTP/1.0 with a length",
    {},
    answering(() => ["HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"]),
  ),
]

const interim: readonly Case[] = [
  row(
    "103 before",
    {},
    answering(() => [
      "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
      answerHead({ headers: [["Content-Length", "2"]] }),
      "ok",
    ]),
  ),
  row(
    "100, 102 and 103 before",
    {},
    answering(() => [
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
      answerHead({ headers: [["Content-Length", "2"]] }),
      "ok",
    ]),
  ),
]

export const answerCases: Readonly<Record<string, readonly Case[]>> = {
  statuses: statusCases,
  reasons: reasonCases,
  "headers of answers": headerCases,
  encodings: [...encodingCases, ...brokenEncoding],
  ranges,
  framings,
  "interim answers": interim,
}

export const downloadCases: readonly Case[] = sizes.flatMap((bytes) =>
  [sized, chunked, untilClose].map((make) => row(`${bytes} bytes down, ${make.name}`, {}, make({ body: noise(bytes) }))),
)
