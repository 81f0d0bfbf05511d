/**
 * Every bound of the protocol, once. Each field says its unit, what it protects and why it is that number.
 * Receivers enforce limits; nothing here is negotiated (SPEC LM1).
 */
export const limits = {
  /** Bytes in one WebSocket message; a larger one closes that peer with 1009. Cloudflare's own bound was 1 MiB until 2025. */
  messageBytesMax: 1_048_576,
  /** Bytes of DATA payload a sender puts in one frame. The relay's throughput peaks at 64 KiB; 1 MiB would block a line for 400 ms at 20 Mbit/s. */
  dataBytesMax: 65_536,
  /** Bytes of DATA payload in one frame while another stream of the link is interactive: 6 ms at 20 Mbit/s. */
  interactiveDataBytesMax: 16_384,
  /** Bytes of an OPEN payload. Linux takes 128 KiB in a single argument, so one such argument and an environment fit. */
  openBytesMax: 262_144,
  /** Bytes of any other JSON payload (ACCEPT, REJECT, MESSAGE, FIN, RESET, GOAWAY). */
  jsonBytesMax: 16_384,
  /** Unsent or unhandled MESSAGE frames of one stream. Resizes and signals are rare and handled at once; more is a flood. */
  queuedMessagesMax: 256,
  /** Bytes of a text control message between one leg and the gateway. */
  controlBytesMax: 16_384,
  /** Bytes of credit a stream starts with, each direction: 20 Mbit/s at 100 ms round trip. */
  streamWindowBytes: 262_144,
  /** Bytes of credit a stream may grow to: 80 Mbit/s at 100 ms. */
  streamWindowBytesMax: 1_048_576,
  /** Bytes in flight per link and direction before the peer has said otherwise. */
  linkWindowBytes: 1_048_576,
  /** Bytes in flight per link and direction at most. */
  linkWindowBytesMax: 4_194_304,
  /** Bytes in flight per link and direction at least, so that one interactive frame always fits. */
  linkWindowBytesMin: 32_768,
  /** Bytes in flight over all links of one agent, each direction; above 512 links the least window of each, at most twice this. A Durable Object has 128 MB, possibly shared. */
  agentInFlightBytesMax: 16_777_216,
  /** Bytes of the link window that bulk streams leave free, so that a keystroke never waits for an acknowledgement. */
  linkReserveBytes: 32_768,
  /** Bytes one receiving socket may have queued in the gateway before it is closed as overloaded: twice the largest link window. */
  clientBufferedBytesMax: 8_388_608,
  /** The same for the agent's socket, which carries every client: twice what all links may have in flight. */
  agentBufferedBytesMax: 33_554_432,
  /** Streams open at once on one link. */
  streamsMax: 256,
  /** Client sockets on one agent. Cloudflare allows 32,768 hibernatable sockets per object; memory is the bound. */
  clientsMax: 1_024,
  /** Milliseconds between liveness pings of a leg; far below every idle cut-off seen (100 s and up). */
  pingIntervalMs: 30_000,
  /** Milliseconds without an answer after which a leg is dead: two and a half intervals, so one lost pong is forgiven. */
  pingDeadMs: 75_000,
  /** Milliseconds after which something sent and not answered is asked after: a round trip to anywhere, several times over. */
  probeAfterMs: 4_000,
  /** Milliseconds that the answer to that may take. With the wait before it a person waits 9 s for a path that is frozen. */
  probeVerdictMs: 5_000,
  /** Milliseconds for a handshake (dial, hello, welcome). */
  handshakeMs: 10_000,
  /** Milliseconds until received bytes are acknowledged at the latest, if nothing else carries it. A paced sender's round trip includes it, so it is short. */
  ackDelayMs: 5,
  /** Bytes received after which an acknowledgement is sent at once: three eighths of the usual window. Credit for a stream is granted by the quarter, and an acknowledgement that rides on it costs nothing. */
  ackBytes: 393_216,
  /** Cells of a terminal, columns times rows: its model takes 12 bytes for each, and a thousand lines of the same width above it. The largest screens have a tenth of it. */
  terminalCellsMax: 1_000_000,
  /** Characters of an idempotency key: a UUID, a digest or a CI job's URL fit. */
  idempotencyKeyLengthMax: 256,
  /** Bytes of the head of an HTTP request or answer, names and values together: what Cloudflare takes in a request. */
  httpHeadBytesMax: 131_072,
  /** Milliseconds until an HTTP service has begun to answer, unless the machine's owner says otherwise. */
  httpFirstByteMs: 30_000,
  /** Milliseconds between two pieces of a body, either way, unless the owner says otherwise. Event streams and WebSockets may be silent for as long as they like. */
  httpIdleMs: 60_000,
  /** Bytes of one WebSocket message: what Cloudflare takes. */
  webSocketMessageBytesMax: 33_554_432,
  /** Milliseconds for a connection to a target: as long as three lost SYNs. */
  targetConnectMs: 10_000,
  /** Connections that wait at one listener for their client. */
  listenBacklogMax: 128,
  /** Milliseconds they wait. */
  listenBacklogMs: 10_000,
  /** Milliseconds a link is kept without a transport. */
  resumeGraceMs: 300_000,
  /** Milliseconds after the loss of an agent in which the gateway lets clients in to wait for it: as long as there is a link they could resume. */
  agentAwayMs: 300_000,
  /** Milliseconds a first call waits for an agent that is away: several redials of an agent whose network is back, and few for whoever waits over HTTP. */
  agentWaitMs: 5_000,
  /** Milliseconds in which an agent that comes back more than `flapReconnectsMax` times is flapping. */
  flapWindowMs: 60_000,
  /** Times in that window: a change of network takes one or two, a deploy of the gateway one. */
  flapReconnectsMax: 3,
  /** Milliseconds for which a gateway's assertion is good: time to dial the agent's URL, too short to be worth stealing. */
  assertionLifeMs: 60_000,
  /** Milliseconds by which the clocks of gateway and agent may differ. */
  clockSkewMs: 60_000,
  /** Characters of an endpoint name: `PORT--NAME` must fit in one DNS label of 63. */
  nameLengthMax: 56,
  /** Labels of an endpoint, and characters of one key or value. */
  labelsMax: 16,
  labelLengthMax: 63,
} as const

/** The protocol version this code speaks; peers state a range (SPEC VR1). */
export const protocolVersion = 1
