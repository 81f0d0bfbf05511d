/** Bytes on a connection to the gateway that two readers could understand as two different lists of requests. What stands behind the first may be no request of its own. */

/** What a reader that was fooled would ask for. It has no credentials: the gateway itself may read it as a request of its own. */
export const smuggledPath = "/smuggled"
const second = `GET ${smuggledPath} HTTP/1.1\r\nHost: h\r\n\r\n`

/** In all of them HOST, TARGET (of the path /first) and OWN (headers that let the client in, and name the script) are replaced. */
export interface Smuggling {
  readonly title: string
  readonly bytes: string
  /** There is only one way to understand the first request: it is to reach the service. */
  readonly passes?: true
}

const secondInChunks = `0\r\n\r\n${second}`
const aChunk = "3\r\nabc\r\n0\r\n\r\n"

const clear = (smuggling: Smuggling): Smuggling => ({ ...smuggling, passes: true })

const request = (title: string, fields: string, behind = secondInChunks, line = "POST TARGET HTTP/1.1"): Smuggling => ({
  title,
  bytes: `${line}\r\nHost: HOST\r\nOWN${fields}\r\n\r\n${behind}`,
})

const both: readonly Smuggling[] = [
  request("a length and chunks", `Content-Length: ${secondInChunks.length}\r\nTransfer-Encoding: chunked`),
  request("chunks and a length", `Transfer-Encoding: chunked\r\nContent-Length: ${secondInChunks.length}`),
  request("a short length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked", aChunk + second),
  request("no length and chunks", "Content-Length: 0\r\nTransfer-Encoding: chunked", aChunk + second),
  request("two lengths, the second longer", `Content-Length: 0\r\nContent-Length: ${second.length}`, second),
  request("two lengths, the first longer", `Content-Length: ${second.length}\r\nContent-Length: 0`, second),
  request("one length twice", `Content-Length: ${second.length}\r\nContent-Length: ${second.length}`, second),
  clear(request("a GET with a length", `Content-Length: ${second.length}`, second, "GET TARGET HTTP/1.1")),
  clear(request("a GET without one, and bytes", "X: y", second, "GET TARGET HTTP/1.1")),
]

const lengths: readonly Smuggling[] = [
  "3, 3",
  "3,4",
  "+3",
  "-1",
  "0x3",
  "3a",
  "",
  "1e1",
  "3.0",
  "99999999999999999999",
  "18446744073709551619",
  "3 3",
  "'3'",
  "\xb3",
].map((value) => request(`the length "${value}"`, `Content-Length: ${value}`, `abc${second}`))

const codings: readonly Smuggling[] = [
  ...[
    "xchunked",
    "chunked, chunked",
    "gzip, chunked",
    "chunked, gzip",
    "identity",
    "chunked;q=1",
    "Chunked",
    "\tchunked",
    "chunked ",
    "chunked,",
    ", chunked",
    '"chunked"',
    "chun\0ked",
    "chunked\x0b",
    "\xa0chunked",
    "",
  ].map((value) => request(`the coding "${value}" and a length`, `Content-Length: 5\r\nTransfer-Encoding: ${value}`)),
  ...["xchunked", "gzip, chunked", "identity", ""].map((value) =>
    request(`the coding "${value}" alone`, `Transfer-Encoding: ${value}`, aChunk + second),
  ),
  request("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 5"),
  request("two codings, the other way", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nContent-Length: 5"),
  clear(request("chunks that Connection names", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", aChunk + second)),
  request("chunks of HTTP/1.0", "Transfer-Encoding: chunked\r\nContent-Length: 5", secondInChunks, "POST TARGET HTTP/1.0"),
]

const fields: readonly Smuggling[] = [
  request("a blank before the colon of chunks", "Transfer-Encoding : chunked\r\nContent-Length: 5"),
  request("a tab before it", "Transfer-Encoding\t: chunked\r\nContent-Length: 5"),
  request("a blank before the colon of a length", `Content-Length : ${second.length}`, second),
  request("a folded coding", "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked"),
  request("a coding in a fold", "Content-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked"),
  request("a fold in front of all", " X: y\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
  request("a bare line feed in front of chunks", "Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked"),
  request("a bare carriage return in front of chunks", "Content-Length: 5\r\nX: y\rTransfer-Encoding: chunked"),
  request("a NUL in front of chunks", "Content-Length: 5\r\nX: y\0Transfer-Encoding: chunked"),
  request("a NUL in a name", "Content-Length: 5\r\nTransfer\0-Encoding: chunked"),
  request("a name of blanks", "Content-Length: 5\r\n : y\r\nTransfer-Encoding: chunked"),
  request("a name of nothing", "Content-Length: 5\r\n: y"),
  request("a line without a colon", "Content-Length: 5\r\nTransfer-Encoding chunked"),
  clear(request("underscores", "Content_Length: 0\r\nTransfer_Encoding: chunked\r\nContent-Length: 5")),
  { title: "line feeds alone", bytes: `POST TARGET HTTP/1.1\nHost: HOST\nLF-OWNContent-Length: 5\n\n${secondInChunks}` },
  { title: "a head that a bare line feed ends", bytes: `GET TARGET HTTP/1.1\r\nHost: HOST\r\nOWNX: y\n\n${second}` },
  { title: "a head that carriage returns end", bytes: `GET TARGET HTTP/1.1\r\nHost: HOST\r\nOWNX: y\r\r${second}` },
]

const inChunks = "Transfer-Encoding: chunked"
const chunks: readonly Smuggling[] = [
  ["an extension", `3;a=b\r\nabc\r\n0\r\n\r\n${second}`],
  ["an extension with a line feed", `3;a\nabc\r\n0\r\n\r\n${second}`],
  ["an extension with a carriage return", `3;a\rb\r\nabc\r\n0\r\n\r\n${second}`],
  ["a long extension", `3;${"a".repeat(300_000)}\r\nabc\r\n0\r\n\r\n${second}`],
  ["a size in 0x", `0x3\r\nabc\r\n0\r\n\r\n${second}`],
  ["a size with a plus", `+3\r\nabc\r\n0\r\n\r\n${second}`],
  ["a size below nothing", `-3\r\nabc\r\n0\r\n\r\n${second}`],
  ["a size behind a blank", ` 3\r\nabc\r\n0\r\n\r\n${second}`],
  ["a size before a blank", `3 \r\nabc\r\n0\r\n\r\n${second}`],
  ["a size beyond numbers", `10000000000000003\r\nabc\r\n0\r\n\r\n${second}`],
  ["a size of nothing", `\r\nabc\r\n0\r\n\r\n${second}`],
  ["no line end behind a chunk", `3\r\nabc0\r\n\r\n${second}`],
  ["a longer chunk than it says", `3\r\nabcdef\r\n0\r\n\r\n${second}`],
  ["line feeds alone", `3\nabc\n0\n\n${second}`],
  ["a last chunk of many zeros", `3\r\nabc\r\n00000000000000000000\r\n\r\n${second}`],
  ["a trailer that is a length", `3\r\nabc\r\n0\r\nContent-Length: ${second.length}\r\n\r\n${second}`],
  ["a trailer that is a request", `3\r\nabc\r\n0\r\n${second}`],
].map(([title = "", behind]) => request(`in chunks: ${title}`, inChunks, behind))

const plain = (title: string, line: string): Smuggling => request(title, "X: y", second, line)

const starts: readonly Smuggling[] = [
  plain("two blanks in the request line", "GET  TARGET HTTP/1.1"),
  plain("a tab in the request line", "GET\tTARGET HTTP/1.1"),
  plain("a blank in the target", "GET TARGET?a b HTTP/1.1"),
  plain("another request in the target", "GET TARGET HTTP/1.1 HTTP/1.1"),
  plain("a blank in front", " GET TARGET HTTP/1.1"),
  plain("HTTP/1.2", "GET TARGET HTTP/1.2"),
  plain("HTTP/2.0", "GET TARGET HTTP/2.0"),
  plain("HTTP/9", "GET TARGET HTTP/9"),
  plain("no version", "GET TARGET"),
  plain("another protocol", "GET TARGET RTSP/1.0"),
  plain("an empty method", " TARGET HTTP/1.1"),
  plain("a target of nothing", "GET  HTTP/1.1"),
  plain("a line feed in the target", "GET TARGET\nX: HTTP/1.1"),
  clear(plain("an escaped line end in the target", "GET TARGET%0d%0aX-Injected:%20y%0d%0a HTTP/1.1")),
  plain("a NUL in the target", "GET TARGET\0 HTTP/1.1"),
  plain("an absolute target elsewhere", "GET http://elsewhere.example/first HTTP/1.1"),
  clear(plain("an absolute target here", "GET http://HOSTTARGET HTTP/1.1")),
  plain("an absolute target with userinfo", "GET http://a:b@HOSTTARGET HTTP/1.1"),
  plain("an absolute target that is a file", "GET file:///etc/passwd HTTP/1.1"),
  plain("an authority as the target", "GET elsewhere.example:80 HTTP/1.1"),
  plain("CONNECT to the service", "CONNECT HOST HTTP/1.1"),
  plain("CONNECT elsewhere", "CONNECT 127.0.0.1:22 HTTP/1.1"),
  plain("CONNECT with a path", "CONNECT TARGET HTTP/1.1"),
  { title: "line ends in front of all", passes: true, bytes: `\r\n\r\n\r\nGET TARGET HTTP/1.1\r\nHost: HOST\r\nOWN\r\n${second}` },
  { title: "HTTP/0.9", bytes: "GET TARGET\r\n" },
  { title: "the beginning of HTTP/2", bytes: `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0${second}` },
  { title: "the beginning of TLS", bytes: `\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03${"\xaa".repeat(64)}${second}` },
  { title: "nothing but line ends", bytes: "\r\n".repeat(10_000) },
  { title: "noise", bytes: "\xff\xfe\0\x01".repeat(1_000) },
  { title: "half a head", bytes: "GET TARGET HTTP/1.1\r\nHost: HOST\r\nOWN" },
]

const hosts: readonly Smuggling[] = [
  { title: "two hosts", bytes: `GET TARGET HTTP/1.1\r\nHost: HOST\r\nHost: elsewhere.example\r\nOWN\r\n${second}` },
  { title: "two hosts, the other way", bytes: `GET TARGET HTTP/1.1\r\nHost: elsewhere.example\r\nHost: HOST\r\nOWN\r\n${second}` },
  { title: "a host in a fold", bytes: `GET TARGET HTTP/1.1\r\nHost: HOST\r\n elsewhere.example\r\nOWN\r\n${second}` },
  { title: "no host", bytes: `GET TARGET HTTP/1.1\r\nOWN\r\n${second}` },
  { title: "an empty host", bytes: `GET TARGET HTTP/1.1\r\nHost:\r\nOWN\r\n${second}` },
]

export const smuggling: readonly Smuggling[] = [...both, ...lengths, ...codings, ...fields, ...chunks, ...starts, ...hosts]
