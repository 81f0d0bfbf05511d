import { readFileSync } from "node:fs"
import { expect, test } from "vitest"
import { formatAddress, localUrl } from "../../src/gateway-local/listen-address.ts"
import { capnpText, compatibilityDate, compatibilityFlags, workerdConfig } from "../../src/gateway-local/workerd-config.ts"

const options = {
  address: "127.0.0.1:0",
  bundleName: "gateway.js",
  objectsDirectory: "/d/o",
  kvIndexDirectory: "/d/k",
  kvBlobsDirectory: "/d/b",
}

test("text is quoted so that no path can leave its literal", () => {
  expect(capnpText('a "b" \\ c')).toBe('"a \\"b\\" \\\\ c"')
  expect(capnpText("ü\n\u007f")).toBe('"\\303\\274\\012\\177"')
})

test("only bindings whose variable is set are declared, and by name alone", () => {
  const config = workerdConfig({ ...options, textBindings: ["GATEWAY_SECRET"] })
  expect(config).toContain('(name = "GATEWAY_SECRET", fromEnvironment = "GATEWAY_SECRET")')
  expect(config).not.toContain("GATEWAY_SECRET_PREVIOUS")
  expect(config).not.toContain("TAKEOVER")
})

test.each(["169.254.0.0/16", "fe80::/10", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::254/128", "fd00:42::42/128"])(
  "an agent's URL does not lead the gateway to %s, where machines keep what is theirs alone",
  (range) => {
    const config = workerdConfig({ ...options, textBindings: [] })
    expect(/allow = \["public", "private"\],\n +deny = \[(.*)\]/.exec(config)?.[1]?.split(", ")).toContain(`"${range}"`)
  },
)

test("addresses put IPv6 hosts in brackets, and a gateway on every interface is reached on loopback", () => {
  expect(formatAddress("::1", 80)).toBe("[::1]:80")
  expect(localUrl("::", 8787)).toBe("http://[::1]:8787")
  expect(localUrl("0.0.0.0", 8787)).toBe("http://127.0.0.1:8787")
  expect(localUrl("gateway.test", 80)).toBe("http://gateway.test:80")
})

test("the compatibility date and flags are those that a deployed gateway has", () => {
  const deployed = readFileSync(new URL("../../../gateway/wrangler.jsonc", import.meta.url), "utf8")
  expect(deployed).toContain(`"compatibility_date": "${compatibilityDate}"`)
  expect(deployed).toContain(`"compatibility_flags": [${compatibilityFlags.map((flag) => `"${flag}"`).join(", ")}]`)
})
