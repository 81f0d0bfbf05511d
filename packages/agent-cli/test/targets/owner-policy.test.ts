/** What may be reached under the owner's policy, and where a name leads then. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, onTestFinished, test } from "vitest"
import { type Hop, OwnerPolicy } from "../../src/targets/owner-policy.ts"
import { defaultPolicySettings, type PolicySettings } from "../../src/targets/policy-settings.ts"
import { Lookups, type Resolve } from "../../src/targets/resolve.ts"
import { UsageError } from "../../src/usage-error.ts"

interface Scripted {
  readonly policy: OwnerPolicy
  /** What the resolver was asked, in order. */
  readonly asked: readonly string[]
}

function scripted(settings: Partial<PolicySettings>, names: Readonly<Record<string, readonly string[]>> = {}): Scripted {
  const asked: string[] = []
  const resolve: Resolve = async (name) => {
    asked.push(name)
    const found = names[name]
    if (found === undefined) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: "ENOTFOUND" })
    return found
  }
  return { policy: new OwnerPolicy({ ...defaultPolicySettings, ...settings }, resolve), asked }
}

const addresses = (hops: readonly Hop[]): readonly string[] => hops.map((hop) => (hop.type === "tcp" ? hop.address : hop.path))

const reached = async ({ policy }: Scripted, host: string, port = 80, use: "tcp" | "http" = "tcp") =>
  addresses(await policy.hops({ host, port }, use))

const denied = (message: string | RegExp = "") => ({
  code: "denied",
  delivered: "no",
  message: typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message),
})

/** Of the system's own resolver. */
const asIs = (settings: Partial<PolicySettings> = {}) => new OwnerPolicy({ ...defaultPolicySettings, ...settings })

describe("without rules", () => {
  test.each(["tcp", "http"] as const)("every port of loopback is reached by %s, by name and by address", async (use) => {
    const policy = asIs()
    for (const port of [1, 5432, 65_535]) {
      expect(addresses(await policy.hops({ host: "127.0.0.1", port }, use))).toEqual(["127.0.0.1"])
      expect(addresses(await policy.hops({ host: "127.1.2.3", port }, use))).toEqual(["127.1.2.3"])
      expect(addresses(await policy.hops({ host: "::1", port }, use))).toEqual(["::1"])
      expect(addresses(await policy.hops({ host: "localhost", port }, use))).toEqual(["127.0.0.1", "::1"])
    }
  })

  test("nothing else is, and the owner's remedy is named", async () => {
    const policy = asIs()
    for (const host of ["10.0.0.1", "8.8.8.8", "192.168.1.1", "fd00::1", "2606:4700::1111"])
      await expect(policy.hops({ host, port: 80 }, "tcp")).rejects.toMatchObject(denied("trunkline serve --allow tcp:"))
    await expect(policy.hops({ host: "fd00::1", port: 80 }, "http")).rejects.toMatchObject(denied("--allow http:[fd00::1]:80"))
    await expect(policy.hops({ path: "/run/docker.sock" }, "tcp")).rejects.toMatchObject(denied("--allow tcp:unix:/run/docker.sock"))
  })

  test("a name that this machine knows as loopback is reached, as /etc/hosts has them", async () => {
    expect(await reached(scripted({}, { "app.test": ["127.0.0.1"] }), "app.test")).toEqual(["127.0.0.1"])
  })

  test("a client does not learn which other names there are", async () => {
    const policy = scripted({}, { "db.internal": ["10.0.0.5"] })
    const messages = await Promise.all(
      ["db.internal", "no.such.name"].map((host) => reached(policy, host).catch((error: Error) => error.message.replaceAll(host, "X"))),
    )
    expect(messages[0]).toBe(messages[1])
    expect(messages[0]).toMatch(/^X:80 is not allowed by the agent's owner/)
  })
})

describe("an allowed", () => {
  test("name is resolved once, and its addresses are what is connected to", async () => {
    const policy = scripted({ allow: ["db.internal:5432"] }, { "db.internal": ["10.0.0.5", "fd00::5", "10.0.0.5"] })
    expect(await policy.policy.hops({ host: "db.internal", port: 5432 }, "tcp")).toEqual([
      { type: "tcp", host: "db.internal", address: "10.0.0.5", port: 5432 },
      { type: "tcp", host: "db.internal", address: "fd00::5", port: 5432 },
    ])
    expect(policy.asked).toEqual(["db.internal"])
  })

  test("name without addresses is service-unreachable", async () => {
    const policy = scripted({ allow: ["db.internal:*"] }, { "db.internal": [] })
    await expect(reached(policy, "db.internal")).rejects.toMatchObject({ code: "service-unreachable" })
    await expect(reached(scripted({ allow: ["db.internal:*"] }), "db.internal")).rejects.toMatchObject({
      code: "service-unreachable",
      message: expect.stringContaining("ENOTFOUND"),
    })
  })

  test("address range lets a name through to those of its addresses that are in it", async () => {
    const names = { "db.internal": ["10.0.0.5", "192.168.0.5", "fd00::5"] }
    expect(await reached(scripted({ allow: ["10.0.0.0/8:80"] }, names), "db.internal")).toEqual(["10.0.0.5"])
    await expect(reached(scripted({ allow: ["172.16.0.0/12:80"] }, names), "db.internal")).rejects.toMatchObject(
      denied("--allow tcp:db.internal:80"),
    )
  })

  test("place is allowed at its ports alone", async () => {
    const policy = scripted({ allow: ["10.0.0.5:5432"] })
    expect(await reached(policy, "10.0.0.5", 5432)).toEqual(["10.0.0.5"])
    await expect(reached(policy, "10.0.0.5", 5433)).rejects.toMatchObject(denied())
  })

  test("place takes the default of its use away, and of no other", async () => {
    const policy = scripted({ allow: ["http:10.0.0.5:80"] })
    await expect(reached(policy, "127.0.0.1", 80, "http")).rejects.toMatchObject(denied())
    await expect(reached(policy, "10.0.0.5", 80, "tcp")).rejects.toMatchObject(denied())
    expect(await reached(policy, "127.0.0.1", 80, "tcp")).toEqual(["127.0.0.1"])
    expect(() => policy.policy.checkListen({ host: "127.0.0.1", port: 8080 })).not.toThrow()
  })

  test("nobody is asked about a name that no rule could allow", async () => {
    const policy = scripted({ allow: ["other.internal:80", "10.0.0.0/8:443"] }, { "db.internal": ["10.0.0.5"] })
    await expect(reached(policy, "db.internal")).rejects.toMatchObject(denied())
    expect(policy.asked).toEqual([])
  })
})

describe("a denied", () => {
  test("place is denied whatever is allowed", async () => {
    const policy = scripted(
      { allow: ["*:*"], deny: ["10.0.0.0/8:*", "tcp:22", "*.corp:*"] },
      { "db.internal": ["10.0.0.5"], "www.corp": ["1.2.3.4"] },
    )
    const refused = denied("denied by a rule")
    await expect(reached(policy, "10.1.1.1")).rejects.toMatchObject(refused)
    await expect(reached(policy, "db.internal")).rejects.toMatchObject(refused)
    await expect(reached(policy, "www.corp")).rejects.toMatchObject(refused)
    for (const host of ["localhost", "127.0.0.1", "::1", "app.localhost"])
      await expect(reached(policy, host, 22)).rejects.toMatchObject(refused)
    expect(await reached(policy, "localhost", 22, "http")).toEqual(["127.0.0.1", "::1"])
    expect(await reached(policy, "8.8.8.8")).toEqual(["8.8.8.8"])
  })

  test("address is left out of those a name stands for", async () => {
    const policy = scripted({ allow: ["db.internal:*"], deny: ["10.0.0.5:*"] }, { "db.internal": ["10.0.0.5", "10.0.0.6"] })
    expect(await reached(policy, "db.internal")).toEqual(["10.0.0.6"])
  })

  test.each(["::ffff:10.0.0.5", "64:ff9b::10.0.0.5", "2002:a00:5::1", "::10.0.0.5", "167772165", "012.0.0.5"])(
    "address is denied as %s too",
    async (host) => {
      await expect(reached(scripted({ allow: ["*:*"], deny: ["10.0.0.5:*"] }), host)).rejects.toMatchObject(denied("denied by a rule"))
    },
  )

  test("loopback is denied to what is unspecified", async () => {
    const policy = scripted({ allow: ["0.0.0.0:80", "[::]:80"], deny: ["80"] })
    for (const host of ["0.0.0.0", "0", "::"]) await expect(reached(policy, host)).rejects.toMatchObject(denied("denied by a rule"))
  })
})

describe("a special address", () => {
  const special = [
    ...[
      "169.254.169.254",
      "169.254.0.1",
      "169.254.170.2",
      "100.100.100.200",
      "168.63.129.16",
      "192.0.0.192",
      "0.0.0.0",
      "0.1.2.3",
      "224.0.0.1",
    ],
    ...["239.255.255.255", "240.0.0.1", "255.255.255.255", "fe80::1", "fe80::a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "::"],
    ...["64:ff9b:1::a9fe:a9fe", "fd00:42::42", "fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1", "fd00:100::100:200"],
  ]
  const wide = ["*:*", "0.0.0.0/0:*", "::/0:*", "100.64.0.0/10:*", "fd00::/8:*", "loopback:*"]

  test.each(special)("%s is not meant by a wide rule", async (host) => {
    await expect(reached(scripted({ allow: wide }), host)).rejects.toMatchObject(denied(/^\S+ is not allowed: it is/))
    await expect(reached(scripted({ allow: wide }, { name: [host] }), "name")).rejects.toMatchObject(
      denied(/^name:80 is not allowed: the name stands for/),
    )
    await expect(reached(scripted({ allow: ["name:*"] }, { name: [host] }), "name")).rejects.toMatchObject(denied())
  })

  test.each(special)("%s is reached by a rule that names it", async (host) => {
    const rule = host.includes(":") ? `[${host}]:80` : `${host}:80`
    expect(await reached(scripted({ allow: [rule] }), host)).toEqual([host])
    expect(await reached(scripted({ allow: [rule] }, { name: [host] }), "name")).toEqual([host])
    await expect(reached(scripted({ allow: [rule] }), host, 81)).rejects.toMatchObject(denied())
  })

  test.each([
    ...[
      "2852039166",
      "0xA9FEA9FE",
      "0251.254.169.254",
      "0xa9.0376.43518",
      "169.254.169.254.",
      "::ffff:169.254.169.254",
      "::ffff:a9fe:a9fe",
    ],
    ...["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254", "::ffff:0:169.254.169.254", "2001::5601:5601", "fe80::1%lo"],
  ])("does not get through as %s", async (host) => {
    await expect(reached(scripted({ allow: wide }), host)).rejects.toMatchObject(denied())
    await expect(reached(scripted({ allow: wide }, { name: [host] }), "name")).rejects.toMatchObject(denied())
  })

  test("of a cloud's metadata is not meant by the range it is in either", async () => {
    const policy = scripted({ allow: ["169.254.0.0/16:*", "fe80::/10:*"] })
    expect(await reached(policy, "169.254.7.7")).toEqual(["169.254.7.7"])
    expect(await reached(policy, "fe80::1%lo")).toEqual(["fe80::1%lo"])
    for (const host of ["169.254.169.254", "169.254.170.2", "fe80::a9fe:a9fe"])
      await expect(reached(policy, host)).rejects.toMatchObject(denied())
  })

  test("is left out of those a name stands for, and not shown to the client", async () => {
    const names = { both: ["169.254.169.254", "10.0.0.5"], bad: ["169.254.169.254"] }
    const policy = scripted({ allow: ["*:*"] }, names)
    expect(await reached(policy, "both")).toEqual(["10.0.0.5"])
    await expect(reached(policy, "bad")).rejects.toMatchObject({ message: expect.not.stringContaining("169.254") })
  })

  test("carried by another is reached by a rule that names the other exactly", async () => {
    expect(await reached(scripted({ allow: ["[64:ff9b::a9fe:a9fe]:80"] }), "64:ff9b::169.254.169.254")).toEqual(["64:ff9b::a9fe:a9fe"])
    await expect(reached(scripted({ allow: ["64:ff9b::/96:80"] }), "64:ff9b::169.254.169.254")).rejects.toMatchObject(denied())
    expect(await reached(scripted({ allow: ["64:ff9b::/96:80"] }), "64:ff9b::8.8.8.8")).toEqual(["64:ff9b::808:808"])
  })

  test("that is unspecified gets a remedy of its own", async () => {
    await expect(reached(scripted({}), "0.0.0.0", 3000)).rejects.toMatchObject(denied("it is no address to connect to, localhost is"))
  })
})

test("a resolver whose answers change is asked for each stream, and each answer is judged", async () => {
  const answers = [["10.0.0.5"], ["169.254.169.254"]]
  const policy = new OwnerPolicy({ ...defaultPolicySettings, allow: ["evil.test:80"] }, async () => answers.shift() ?? [])
  expect(addresses(await policy.hops({ host: "evil.test", port: 80 }, "http"))).toEqual(["10.0.0.5"])
  await expect(policy.hops({ host: "evil.test", port: 80 }, "http")).rejects.toMatchObject(denied())
})

test("a resolver that does not answer is given up", async () => {
  await expect(new Lookups(() => new Promise(() => {}), 5).addressesOf("slow.test")).rejects.toThrow(/no answer from the resolver/)
})

test("a client that asks for more names than the resolver answers is refused, until it has", async () => {
  const answers: (() => void)[] = []
  const policy = new OwnerPolicy({ ...defaultPolicySettings, allow: ["*:*"] }, (name) => {
    if (name === "quick.test") return Promise.resolve(["10.0.0.5"])
    return new Promise((resolve) => answers.push(() => resolve(["10.0.0.6"])))
  })
  const target = (host: string) => ({ host, port: 80 })
  const asked = Array.from({ length: 300 }, (_, index) => policy.hops(target(`n${index}.test`), "tcp").catch((error: unknown) => error))
  await expect(policy.hops(target("quick.test"), "tcp")).rejects.toMatchObject({ code: "overloaded", delivered: "no" })
  expect(await policy.hops(target("localhost"), "tcp")).toHaveLength(2)
  expect(answers).toHaveLength(256)
  for (const answer of answers) answer()
  const given = await Promise.all(asked)
  expect(given.filter((hops) => Array.isArray(hops))).toHaveLength(256)
  expect(addresses(await policy.hops(target("quick.test"), "tcp"))).toEqual(["10.0.0.5"])
})

test.each(["a..b", "%31", "1.2.3.4.5"])("%s is a bad-request", async (host) => {
  await expect(reached(scripted({ allow: ["*:*"] }), host)).rejects.toMatchObject({ code: "bad-request" })
})

describe("a unix socket", () => {
  test("is reached where a rule has its path", async () => {
    const policy = asIs({ allow: ["unix:/run/app/*", "http:unix:/run/web.sock"] })
    expect(await policy.hops({ path: "/run/app/a.sock" }, "tcp")).toEqual([{ type: "unix", path: "/run/app/a.sock" }])
    expect(await policy.hops({ path: "/run/web.sock" }, "http")).toEqual([{ type: "unix", path: "/run/web.sock" }])
    await expect(policy.hops({ path: "/run/web.sock" }, "tcp")).rejects.toMatchObject(denied())
    await expect(policy.hops({ path: "/run/app/deep/a.sock" }, "tcp")).rejects.toMatchObject(denied())
  })

  test("is not meant by a rule for every host", async () => {
    await expect(asIs({ allow: ["*:*"] }).hops({ path: "/run/docker.sock" }, "tcp")).rejects.toMatchObject(denied())
  })

  test.each(["/run/app/../docker.sock", "/run/app/./a", "/run//app/a", "/run/app/a/", "/run/app/.."])(
    "has to be written plainly, not %s",
    async (path) => {
      await expect(asIs({ allow: ["unix:/run/app/*", "unix:/run/docker.sock"] }).hops({ path }, "tcp")).rejects.toMatchObject({
        code: expect.stringMatching(/bad-request|denied/),
      })
    },
  )

  test("is denied under each of its names", async () => {
    const directory = mkdtempSync(join(tmpdir(), "trunkline-policy-"))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    mkdirSync(join(directory, "real"))
    for (const name of ["docker.sock", "app.sock"]) writeFileSync(join(directory, "real", name), "")
    symlinkSync(join(directory, "real"), join(directory, "link"))
    symlinkSync(join(directory, "real", "docker.sock"), join(directory, "real", "alias.sock"))
    const allow = ["real", "link"].map((name) => `unix:${join(directory, name)}/*`)
    for (const deny of [`unix:${directory}/real/docker.sock`, `unix:${directory}/link/docker.sock`, `unix:${directory}/link/d*`]) {
      const policy = asIs({ allow, deny: [deny] })
      for (const path of ["real/docker.sock", "link/docker.sock", "real/alias.sock"])
        await expect(policy.hops({ path: join(directory, path) }, "tcp"), `${path} with ${deny}`).rejects.toMatchObject(
          denied("denied by a rule"),
        )
      expect(await policy.hops({ path: join(directory, "link/app.sock") }, "tcp")).toHaveLength(1)
    }
  })
})

describe("a link in the way of a unix socket", () => {
  function places() {
    const directory = mkdtempSync(join(tmpdir(), "trunkline-policy-"))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    for (const name of ["app", "other"]) {
      mkdirSync(join(directory, name))
      writeFileSync(join(directory, name, "real.sock"), "")
    }
    const link = (to: string, at: string) => symlinkSync(join(directory, to), join(directory, at))
    return { link, rule: (path: string) => `unix:${join(directory, path)}`, path: (path: string) => join(directory, path) }
  }

  test("does not lead from a * to a place that nothing allows", async () => {
    const { link, rule, path } = places()
    link("other/real.sock", "app/link.sock")
    const policy = asIs({ allow: [rule("app/*")] })
    expect(await policy.hops({ path: path("app/real.sock") }, "tcp")).toHaveLength(1)
    await expect(policy.hops({ path: path("app/link.sock") }, "tcp")).rejects.toMatchObject(denied(`--allow tcp:${rule("app/link.sock")}`))
  })

  test("leads to a place that is allowed itself, and from what the owner has written out", async () => {
    const { link, rule, path } = places()
    link("other/real.sock", "app/link.sock")
    link("other", "link")
    for (const allow of [[rule("app/*"), rule("other/real.sock")], [rule("app/link.sock")]])
      expect(await asIs({ allow }).hops({ path: path("app/link.sock") }, "http")).toHaveLength(1)
    expect(await asIs({ allow: [rule("link/*")] }).hops({ path: path("link/real.sock") }, "http")).toHaveLength(1)
  })

  test("is not followed for a path that nothing allows: where it leads is not the client's to learn", async () => {
    const { link, rule, path } = places()
    link("other/real.sock", "app/link.sock")
    const policy = asIs({ deny: [rule("other/*")] })
    await expect(policy.hops({ path: path("app/link.sock") }, "tcp")).rejects.toMatchObject(denied("is not allowed by the agent's owner"))
    await expect(policy.hops({ path: path("other/real.sock") }, "tcp")).rejects.toMatchObject(denied("denied by a rule"))
  })
})

describe("a service", () => {
  test("without another place is plain HTTP at its port of localhost", async () => {
    const policy = asIs()
    expect(policy.service({ service: 3000 })).toEqual({ target: { host: "localhost", port: 3000 }, tls: undefined })
    expect(policy.service({ host: "a", port: 1, tls: { verify: false } })).toEqual({
      target: { host: "a", port: 1 },
      tls: { verify: false },
    })
    expect(policy.service({ path: "/a", tls: { verify: true } })).toEqual({ target: { path: "/a" }, tls: { verify: true } })
  })

  test.each([
    ["https+insecure://10.0.0.5:8443", ["10.0.0.5"]],
    ["http://db.internal:80", ["10.0.0.6"]],
    ["unix:/run/app.sock", ["/run/app.sock"]],
    ["http://169.254.169.254", ["169.254.169.254"]],
  ])("that is named is allowed by that for http: %s", async (url, places) => {
    const { policy } = scripted({ services: { 8443: url } }, { "db.internal": ["10.0.0.6"] })
    const { target } = policy.service({ service: 8443 })
    expect(addresses(await policy.hops(target, "http"))).toEqual(places)
    await expect(policy.hops(target, "tcp")).rejects.toMatchObject(denied())
    // The default stays.
    expect(addresses(await policy.hops({ host: "127.0.0.1", port: 3000 }, "http"))).toEqual(["127.0.0.1"])
  })

  test("that is named is denied where a rule denies it, and its name does not lead to special addresses", async () => {
    const names = { "db.internal": ["10.0.0.6"], metadata: ["169.254.169.254"] }
    const { policy } = scripted({ services: { 1: "http://db.internal", 2: "http://metadata" }, deny: ["10.0.0.0/8:*"] }, names)
    for (const service of [1, 2]) await expect(policy.hops(policy.service({ service }).target, "http")).rejects.toMatchObject(denied())
  })
})

describe("listening", () => {
  const listens = (settings: Partial<PolicySettings>, host: string, port: number) => {
    try {
      asIs(settings).checkListen({ host, port })
      return true
    } catch (error) {
      expect(error).toMatchObject({ code: "denied" })
      return false
    }
  }

  test.each([
    ["127.0.0.1", 0],
    ["127.0.0.1", 8080],
    ["::1", 8080],
    ["localhost", 0],
  ])("is allowed at %s port %i without rules", (host, port) => {
    expect(listens({}, host, port)).toBe(true)
  })

  test.each([
    ["0.0.0.0", 8080],
    ["::", 8080],
    ["10.0.0.5", 8080],
    // Both would be looked up by whoever listens.
    ["app.localhost", 8080],
    ["0", 8080],
    ["127.1", 8080],
  ])("is not at %s port %i", (host, port) => {
    expect(listens({}, host, port)).toBe(false)
  })

  test("is allowed where a rule for it says so, and by no other rule", () => {
    expect(listens({ allow: ["*:*"] }, "0.0.0.0", 8080)).toBe(false)
    expect(listens({ allow: ["listen:0.0.0.0:8000-8999"] }, "0.0.0.0", 8080)).toBe(true)
    expect(listens({ allow: ["listen:0.0.0.0:8000-8999"] }, "0.0.0.0", 0)).toBe(false)
    expect(listens({ allow: ["listen:0.0.0.0:8000-8999"] }, "127.0.0.1", 8080)).toBe(false)
    expect(listens({ allow: ["listen:127.0.0.1:*"] }, "localhost", 8080)).toBe(false)
    expect(listens({ allow: ["listen:*:*"] }, "::", 0)).toBe(true)
  })

  test("is denied whatever is allowed, at every interface too", () => {
    const settings = { allow: ["listen:*:*"], deny: ["listen:10.0.0.5:8080", "listen:loopback:1-1023"] }
    expect(listens(settings, "10.0.0.5", 8080)).toBe(false)
    expect(listens(settings, "0.0.0.0", 8080)).toBe(false)
    expect(listens(settings, "::", 80)).toBe(false)
    expect(listens(settings, "localhost", 80)).toBe(false)
    expect(listens(settings, "10.0.0.6", 8080)).toBe(true)
    expect(listens(settings, "0.0.0.0", 8081)).toBe(true)
    // A free port is never one of these.
    expect(listens(settings, "127.0.0.1", 0)).toBe(true)
    expect(listens({ ...settings, deny: ["listen:loopback:*"] }, "127.0.0.1", 0)).toBe(false)
  })

  test("at a path needs a rule for it", () => {
    const policy = asIs({ allow: ["listen:unix:/tmp/app-*"] })
    expect(() => policy.checkListen({ path: "/tmp/app-1.sock" })).not.toThrow()
    expect(() => policy.checkListen({ path: "/tmp/other.sock" })).toThrow(/--allow listen:unix:\/tmp\/other\.sock/)
    expect(() => asIs().checkListen({ path: "/tmp/app-1.sock" })).toThrow(/listening at \/tmp\/app-1\.sock is not allowed/)
  })
})

test("a rule that is none is a usage error", () => {
  expect(() => asIs({ deny: ["nothing"] })).toThrow(UsageError)
  expect(() => asIs({ services: { 80: "nothing" } })).toThrow(UsageError)
})

test("what is in force is told, defaults included", () => {
  expect(asIs({ allow: ["tcp:5432"], deny: ["db:1"], services: { 8443: "https://a" }, idleMs: 0 }).describe()).toEqual({
    allow: { tcp: ["tcp:5432"], http: ["loopback:*"], listen: ["listen:loopback:*"] },
    deny: { tcp: ["db:1"], http: ["db:1"], listen: [] },
    services: { 8443: "https://a" },
    firstByteMs: 30_000,
    idleMs: 0,
  })
})
