import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { credentialsFile, findCredential, keepGatewaySecret, readSecretFile } from "../src/credentials.ts"

const gateway = "http://127.0.0.1:8787"

const scratch = () => {
  const directory = mkdtempSync(join(tmpdir(), "trunkline-test-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const secretFile = join(directory, "secret")
  writeFileSync(secretFile, "  from-file\n", { mode: 0o600 })
  return { directory, secretFile, environment: { XDG_CONFIG_HOME: join(directory, "config") } }
}

test("a file given as an option wins over the environment, and that over what is kept for the gateway", async () => {
  const { secretFile, environment } = scratch()
  await keepGatewaySecret(gateway, "kept", environment)
  const withVariable = { ...environment, TRUNKLINE_TOKEN: "from-environment" }
  expect(await findCredential({ gateway, secretFile, environment: withVariable })).toMatchObject({ kind: "secret", value: "from-file" })
  expect(await findCredential({ gateway, tokenFile: secretFile, environment: withVariable })).toMatchObject({
    kind: "token",
    value: "from-file",
  })
  expect(await findCredential({ gateway, environment: withVariable })).toMatchObject({ kind: "token", value: "from-environment" })
  expect(await findCredential({ gateway, environment })).toMatchObject({ kind: "secret", value: "kept" })
})

test("what is kept is found under every way to write the gateway's URL, and not for another gateway", async () => {
  const { environment } = scratch()
  await keepGatewaySecret("http://127.0.0.1:8787/", "kept", environment)
  await keepGatewaySecret("https://gateway.test", "other", environment)
  for (const url of [gateway, "http://localhost:8787", "ws://127.0.0.1:8787/ws/connect"]) {
    expect(await findCredential({ gateway: url, environment })).toMatchObject({ value: "kept" })
  }
  expect(await findCredential({ gateway: "wss://gateway.test", environment })).toMatchObject({ value: "other" })
  await expect(findCredential({ gateway: "http://127.0.0.1:8788", environment })).rejects.toMatchObject({
    code: "unauthorised",
    message: expect.stringContaining("no credentials for http://127.0.0.1:8788"),
  })
})

test("the kept file is private, has the documented shape, and survives a second gateway", async () => {
  const { environment } = scratch()
  await keepGatewaySecret(gateway, "one", environment)
  const file = await keepGatewaySecret("https://gateway.test", "two", environment)
  expect(file).toBe(credentialsFile(environment))
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({
    gateways: { [gateway]: { secret: "one" }, "https://gateway.test": { secret: "two" } },
  })
})

test("a kept file that others can read, or that is malformed, is refused and not overwritten", async () => {
  const { environment } = scratch()
  const file = credentialsFile(environment)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, "not json", { mode: 0o600 })
  await expect(findCredential({ gateway, environment })).rejects.toMatchObject({
    code: "unauthorised",
    message: expect.stringContaining(file),
  })
  await expect(keepGatewaySecret(gateway, "new", environment)).rejects.toMatchObject({ code: "unauthorised" })
  expect(readFileSync(file, "utf8")).toBe("not json")
  writeFileSync(file, '{ "gateways": {} }')
  chmodSync(file, 0o644)
  await expect(findCredential({ gateway, environment })).rejects.toThrow("can be read by others (mode 0644): run chmod 600")
})

test("a secret file that the world can read is refused; the group may, and a pipe has no mode", async () => {
  const { secretFile } = scratch()
  chmodSync(secretFile, 0o604)
  await expect(readSecretFile(secretFile)).rejects.toThrow("can be read by others (mode 0604)")
  chmodSync(secretFile, 0o640)
  expect(await readSecretFile(secretFile)).toBe("from-file")
  await expect(readSecretFile(secretFile, "owner")).rejects.toThrow("can be read by others (mode 0640)")
  const pipe = join(dirname(secretFile), "pipe")
  execFileSync("mkfifo", ["-m", "644", pipe])
  const read = readSecretFile(pipe)
  writeFileSync(pipe, "from-pipe\n")
  expect(await read).toBe("from-pipe")
})

test("an empty, malformed, oversized or missing secret is refused with its source", async () => {
  const { secretFile, environment } = scratch()
  await expect(findCredential({ gateway, environment: { ...environment, TRUNKLINE_SECRET: " \n" } })).rejects.toThrow(
    "TRUNKLINE_SECRET is empty",
  )
  writeFileSync(secretFile, "")
  await expect(findCredential({ gateway, secretFile, environment })).rejects.toThrow(`${secretFile} is empty`)
  writeFileSync(secretFile, "two words")
  await expect(findCredential({ gateway, secretFile, environment })).rejects.toThrow("white space or characters outside ASCII")
  writeFileSync(secretFile, "x".repeat(4097))
  await expect(findCredential({ gateway, secretFile, environment })).rejects.toThrow("larger than 4096 bytes")
  rmSync(secretFile)
  await expect(findCredential({ gateway, secretFile, environment })).rejects.toMatchObject({
    code: "unauthorised",
    message: expect.stringContaining("ENOENT"),
  })
})

test("a secret and a token at one level are ambiguous", async () => {
  const { secretFile, environment } = scratch()
  await expect(findCredential({ gateway, secretFile, tokenFile: secretFile, environment })).rejects.toMatchObject({ code: "bad-request" })
  await expect(
    findCredential({ gateway, environment: { ...environment, TRUNKLINE_SECRET: "a", TRUNKLINE_TOKEN: "b" } }),
  ).rejects.toMatchObject({ code: "bad-request" })
})
