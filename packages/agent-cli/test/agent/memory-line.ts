/** A path between the two ends of a link in memory: whole messages, in order, each in a turn of its own. */
import type { TransportEvents } from "@trunkline/protocol"
import type { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"

/** Connects them. The result cuts the path: each end hears of it. */
export function connected(client: ClientEnd, agent: AgentEnd): () => void {
  let cut = false
  const transportTo = (events: () => TransportEvents | undefined) => ({
    bufferedBytes: 0,
    send: (message: Uint8Array) => {
      // A copy: the sender may patch the message and send it again.
      const copy = message.slice()
      setImmediate(() => cut || events()?.message(copy))
    },
    close() {},
  })
  let near: TransportEvents | undefined
  const far = agent.attach(transportTo(() => near))
  near = client.attach(transportTo(() => far))
  return () => {
    cut = true
    near?.closed(1006, "")
    far.closed(1006, "")
  }
}
