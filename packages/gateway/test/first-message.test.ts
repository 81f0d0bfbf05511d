/** The Worker's own link, whose first message comes with its upgrade. */
import { closeCodes, type EndpointName } from "@trunkline/protocol"
import { describe, expect, test, vi } from "vitest"
import { readinessIn, upgradeRequest } from "../src/agent/upgrade.ts"
import { gatewayPrincipal } from "../src/auth.ts"
import { base64UrlEncode } from "../src/base64url.ts"
import { bodyOf, clientOf, connectAgent, data, freshName, objectOf } from "./peers.ts"

async function ownLink(name: EndpointName, first: Uint8Array) {
  const upgrade = {
    type: "client",
    name,
    principal: gatewayPrincipal,
    readyInAnswer: true,
    first: base64UrlEncode(first),
  } as const
  const response = await objectOf(name).fetch(upgradeRequest(upgrade))
  return { client: clientOf(response), readiness: readinessIn(response) }
}

describe("a message that comes with an upgrade", () => {
  test("reaches an agent that is here under the client's slot, behind the word of the client, before all that comes later", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, readiness } = await ownLink(name, data(7, "first"))
    expect(readiness).toMatchObject({ tookFirst: true, ready: expect.stringMatching(/"agent":"here"/) })
    const attached = await agent.nextControl()
    if (attached.type !== "attached") throw new Error(`expected attached, got ${attached.type}`)
    client.send(data(0, "second"))
    expect(bodyOf(await agent.nextData())).toBe("first")
    expect(bodyOf(await agent.nextData())).toBe("second")
    agent.send(data(attached.slot, "answer"))
    // What it is told by a message otherwise it has been told already.
    expect(bodyOf(await client.nextData())).toBe("answer")
  })

  test("is not taken for an agent that is away", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    agent.close(1001, "")
    await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ status: "offline" }))
    const { client, readiness } = await ownLink(name, data(0, "first"))
    expect(readiness).toMatchObject({ tookFirst: false, ready: expect.stringMatching(/"agent":"away"/) })
    const { agent: again } = await connectAgent(name)
    await again.nextControl()
    expect(await client.nextControl()).toMatchObject({ type: "agent-state", state: "back" })
    client.send(data(0, "sent now"))
    expect(bodyOf(await again.nextData())).toBe("sent now")
  })

  test("that is none closes the client, as any other", async () => {
    const name = freshName()
    await connectAgent(name)
    const { client } = await ownLink(name, new Uint8Array(3))
    expect(await client.closed).toMatchObject({ code: closeCodes.protocolError })
  })
})
