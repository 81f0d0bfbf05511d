/** Who may come in at the listener: the assertion of a gateway in every state it can be in, and the secret. */
import { createHmac } from "node:crypto"
import { endpointName, limits } from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import { AssertionAccess, secretAccess } from "../../src/direct/access.ts"

const now = 1_800_000_000_000
const secret = "the-gateway-secret"
const box =
  endpointName("box") ??
  (() => {
    throw new Error("not a name")
  })()
const keyOf = (name: string, of = secret): string => createHmac("sha256", of).update(`agent:${name}`).digest("hex")
const principal = { id: "gateway", scopes: ["exec"] }
const claims = { agent: "box", principal, expiresAt: now + limits.assertionLifeMs, nonce: "n".repeat(22) }

function assertion(more: object = {}, keys: readonly string[] = [keyOf("box")], prefix = "assertion:"): string {
  const payload = Buffer.from(JSON.stringify({ ...claims, ...more })).toString("base64url")
  return [payload, ...keys.map((key) => createHmac("sha256", key).update(`${prefix}${payload}`).digest("base64url"))].join(".")
}

let time = now
const access = (held = secret): AssertionAccess => {
  time = now
  return new AssertionAccess({ name: box, secret: held, epochMs: () => time })
}

describe("an assertion", () => {
  test.each([
    ["by who holds the gateway secret", secret, assertion()],
    ["by who holds the agent's own key", keyOf("box"), assertion()],
    ["signed under two secrets, the second ours", secret, assertion({}, [keyOf("box", "another"), keyOf("box")])],
    ["of a gateway whose clock is a minute behind", secret, assertion({ expiresAt: now - limits.clockSkewMs + 1 })],
    ["of a gateway whose clock is a minute ahead", secret, assertion({ expiresAt: now + limits.assertionLifeMs + limits.clockSkewMs })],
    ["with a field of a newer gateway", secret, assertion({ more: true })],
  ])("[DR3] is taken %s", (_, held, text) => {
    expect(access(held).check(text)).toEqual(principal)
  })

  test.each([
    ["signed with another key", assertion({}, [keyOf("box", "another")]), /not a gateway's assertion/],
    ["signed with another agent's key", assertion({}, [keyOf("other")]), /not a gateway's assertion/],
    ["with claims changed after", `${Buffer.from("{}").toString("base64url")}.${assertion().split(".")[1]}`, /not a gateway's assertion/],
    ["signed for another purpose", assertion({}, [keyOf("box")], "ticket:"), /not a gateway's assertion/],
    ["without a signature", assertion({}, []), /not a gateway's assertion/],
    ["with an empty signature", `${assertion({}, [])}.`, /not a gateway's assertion/],
    ["with a cut signature", assertion().slice(0, -2), /not a gateway's assertion/],
    [
      "with more signatures than any gateway makes",
      assertion(
        {},
        Array.from({ length: 4 }, () => keyOf("box")),
      ),
      /not a gateway's assertion/,
    ],
    ["that is the secret itself", secret, /not a gateway's assertion/],
    ["that is nothing", "", /not a gateway's assertion/],
    ["for another agent", assertion({ agent: "other" }), /is for "other", and this is "box"/],
    ["that has expired, and a minute", assertion({ expiresAt: now - limits.clockSkewMs }), /expired 60 seconds ago/],
    ["that lives too long", assertion({ expiresAt: now + limits.assertionLifeMs + limits.clockSkewMs + 1 }), /more than one lives/],
    ["without a nonce", assertion({ nonce: undefined }), /malformed/],
    ["with a principal that is none", assertion({ principal: { id: "x".repeat(300), scopes: [] } }), /malformed/],
  ])("[DR3] is refused %s", (_, text, says) => {
    expect(() => access().check(text)).toThrow(expect.objectContaining({ code: "unauthorised", message: expect.stringMatching(says) }))
  })

  test("[DR4] is good for one connection, for as long as it could be used", () => {
    const once = access()
    once.check(assertion())
    time = claims.expiresAt + limits.clockSkewMs - 1
    expect(() => once.check(assertion())).toThrow(/used before/)
    // The nonce is what counts, however it is signed.
    expect(() => once.check(assertion({ principal: { id: "other", scopes: [] } }))).toThrow(/used before/)
    expect(once.check(assertion({ nonce: "m".repeat(22), expiresAt: time }))).toEqual(principal)
  })

  test("a refused one does not use its nonce up", () => {
    const once = access()
    expect(() => once.check(assertion({}, [keyOf("other")]))).toThrow()
    expect(once.check(assertion())).toEqual(principal)
  })

  test("[DR4] more than are remembered are refused, until the first have expired", () => {
    const full = access()
    const nonce = (number: number): string => String(number).padStart(22, "0")
    for (let number = 0; number < 32_768; number++) full.check(assertion({ nonce: nonce(number) }))
    expect(() => full.check(assertion({ nonce: nonce(32_768) }))).toThrow(expect.objectContaining({ code: "overloaded" }))
    time = claims.expiresAt + limits.clockSkewMs
    expect(full.check(assertion({ nonce: nonce(32_768), expiresAt: time }))).toEqual(principal)
  })
})

test("without a gateway the secret is taken, and nothing near it", () => {
  const direct = secretAccess(secret)
  expect(direct.check(secret)).toMatchObject({ scopes: expect.arrayContaining(["exec", "admin"]) })
  for (const wrong of ["", `${secret}x`, secret.slice(1), secret.toUpperCase(), keyOf("box")])
    expect(() => direct.check(wrong)).toThrow(expect.objectContaining({ code: "unauthorised" }))
})
