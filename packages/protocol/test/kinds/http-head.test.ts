import { describe, expect, test } from "vitest"
import { encodeHead, endToEndHeaders, HeadReader, type HttpHead, httpHeadJsonBytesMax, InvalidBody } from "../../src/index.ts"

const head: HttpHead = {
  status: 200,
  statusText: 'All "fine"\n',
  headers: [
    ["Set-Cookie", "a=1"],
    ["set-cookie", "b=é"],
  ],
}

describe("[KH4] a head", () => {
  test("is the same whole and byte by byte, and known by its end", () => {
    const bytes = encodeHead(head)
    expect(new HeadReader().push(bytes)).toEqual(head)
    const reader = new HeadReader()
    const results = Array.from(bytes, (byte) => reader.push(Uint8Array.of(byte)))
    expect(results.at(-1)).toEqual(head)
    expect(results.slice(0, -1).every((result) => result === undefined)).toBe(true)
  })

  test("has nothing behind it", () => {
    const bytes = encodeHead(head)
    expect(() => new HeadReader().push(Uint8Array.of(...bytes, 32))).toThrow(InvalidBody)
    const reader = new HeadReader()
    reader.push(bytes)
    expect(() => reader.push(bytes)).toThrow(InvalidBody)
  })

  test("that never ends is refused", () => {
    const reader = new HeadReader()
    reader.push(new Uint8Array(httpHeadJsonBytesMax))
    expect(() => reader.push(Uint8Array.of(32))).toThrow(InvalidBody)
  })

  test.each(["{}\n", "x\n", '{"status":99,"statusText":"","headers":[]}\n', '{"status":200,"statusText":"","headers":[["a b","c"]]}\n'])(
    "that is none is refused: %j",
    (text) => {
      expect(() => new HeadReader().push(new TextEncoder().encode(text))).toThrow(InvalidBody)
    },
  )
})

describe("[KH5] headers that are sent on", () => {
  test("are Host and Content-Length also where Connection names them: without, one request could be read as two", () => {
    const headers: HttpHead["headers"] = [
      ["Host", "a"],
      ["Content-Length", "3"],
      ["Connection", "host, Content-Length"],
    ]
    expect(endToEndHeaders(headers)).toEqual(headers.slice(0, 2))
  })

  test("are those of no connection, in their order and as they were written", () => {
    const headers: HttpHead["headers"] = [
      ["Host", "a"],
      ["Connection", "close, X-Mine"],
      ["x-mine", "1"],
      ["TE", "trailers"],
      ["Content-Length", "3"],
      ["Upgrade", "h2c"],
      ["Keep-Alive", "5"],
      ["Proxy-Connection", "x"],
      ["Trailer", "x"],
      ["Transfer-Encoding", "chunked"],
      ["connection", "x-yours"],
      ["X-Yours", "2"],
      ["Set-Cookie", "a"],
      ["set-cookie", "b"],
    ]
    expect(endToEndHeaders(headers)).toEqual([
      ["Host", "a"],
      ["Content-Length", "3"],
      ["Set-Cookie", "a"],
      ["set-cookie", "b"],
    ])
  })
})
