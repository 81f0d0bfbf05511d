/** Every number of the wire and every limit, pinned: whoever changes one meets this file and SPEC. */
import { describe, expect, test } from "vitest"
import {
  closeCodes,
  controlOffset,
  dataCost,
  errorCodes,
  firstDelayMs,
  frameHeaderBytes,
  frameTypes,
  limits,
  linkHeaderBytes,
  payloadBounds,
  pingBytes,
  pingText,
  pongText,
  processTags,
  protocolVersion,
  stableMs,
} from "../../src/index.ts"

describe("numbers", () => {
  test("[VR1] the version", () => {
    expect(protocolVersion).toBe(1)
  })

  test("[FR2] frame types and [FR3] payload bounds", () => {
    const table = Object.entries(frameTypes).map(([name, number]) => [
      name,
      number,
      payloadBounds[name as keyof typeof frameTypes].min,
      payloadBounds[name as keyof typeof frameTypes].max,
    ])
    expect(table).toEqual([
      ["open", 1, 2, 262_144],
      ["accept", 2, 1, 16_384],
      ["reject", 3, 2, 16_384],
      ["data", 4, 1, 65_536],
      ["message", 5, 1, 16_384],
      ["credit", 6, 4, 4],
      ["fin", 7, 0, 16_384],
      ["reset", 8, 2, 16_384],
      ["ping", 9, 8, 8],
      ["pong", 10, 8, 8],
      ["goAway", 11, 2, 16_384],
    ])
    expect([frameHeaderBytes, pingBytes]).toEqual([9, 8])
  })

  test("[LH1] the link header", () => {
    expect([linkHeaderBytes, controlOffset]).toEqual([16, 281_474_976_710_655])
  })

  test("[FC2] what DATA costs", () => {
    expect([dataCost(1), dataCost(65_536)]).toEqual([65, 65_600])
  })

  test("[CC1] close codes", () => {
    expect(closeCodes).toEqual({
      normal: 1000,
      protocolError: 1002,
      tooBig: 1009,
      flapping: 1011,
      restart: 1012,
      unauthorised: 4001,
      revoked: 4003,
      replaced: 4009,
      nameInUse: 4010,
      version: 4026,
      overloaded: 4029,
    })
  })

  test("[CT1] liveness strings", () => {
    expect([pingText, pongText]).toEqual(["ping", "pong"])
  })

  test("[KP2] process tags", () => {
    expect(processTags).toEqual({ stdin: 0, stdout: 1, stderr: 2 })
  })

  test("[RC3] the times a connection must have lasted", () => {
    expect([firstDelayMs, stableMs]).toEqual([1_000, 10_000])
  })

  test("[LM1] limits", () => {
    expect(limits).toEqual({
      messageBytesMax: 1_048_576,
      dataBytesMax: 65_536,
      interactiveDataBytesMax: 16_384,
      openBytesMax: 262_144,
      jsonBytesMax: 16_384,
      queuedMessagesMax: 256,
      controlBytesMax: 16_384,
      streamWindowBytes: 262_144,
      streamWindowBytesMax: 1_048_576,
      linkWindowBytes: 1_048_576,
      linkWindowBytesMax: 4_194_304,
      linkWindowBytesMin: 32_768,
      agentInFlightBytesMax: 16_777_216,
      linkReserveBytes: 32_768,
      clientBufferedBytesMax: 8_388_608,
      agentBufferedBytesMax: 33_554_432,
      streamsMax: 256,
      clientsMax: 1_024,
      pingIntervalMs: 30_000,
      pingDeadMs: 75_000,
      probeAfterMs: 4_000,
      probeVerdictMs: 5_000,
      handshakeMs: 10_000,
      ackDelayMs: 5,
      ackBytes: 393_216,
      terminalCellsMax: 1_000_000,
      idempotencyKeyLengthMax: 256,
      httpHeadBytesMax: 131_072,
      httpFirstByteMs: 30_000,
      httpIdleMs: 60_000,
      webSocketMessageBytesMax: 33_554_432,
      targetConnectMs: 10_000,
      listenBacklogMax: 128,
      listenBacklogMs: 10_000,
      resumeGraceMs: 300_000,
      agentAwayMs: 300_000,
      agentWaitMs: 5_000,
      flapWindowMs: 60_000,
      flapReconnectsMax: 3,
      assertionLifeMs: 60_000,
      clockSkewMs: 60_000,
      nameLengthMax: 56,
      labelsMax: 16,
      labelLengthMax: 63,
    })
  })

  test("the limits fit each other", () => {
    expect(limits.openBytesMax + frameHeaderBytes + linkHeaderBytes).toBeLessThan(limits.messageBytesMax)
    expect(limits.clientBufferedBytesMax).toBe(2 * limits.linkWindowBytesMax)
    expect(limits.agentBufferedBytesMax).toBe(2 * limits.agentInFlightBytesMax)
    expect(limits.linkWindowBytesMin).toBeGreaterThan(limits.interactiveDataBytesMax + frameHeaderBytes)
    expect(limits.agentAwayMs).toBeGreaterThanOrEqual(limits.resumeGraceMs)
    expect(limits.pingDeadMs).toBeGreaterThan(2 * limits.pingIntervalMs)
  })

  test("[ER1] error codes with their HTTP status and whether they may be retried", () => {
    expect(Object.entries(errorCodes).map(([code, { status, retryable }]) => `${code} ${status}${retryable ? " retryable" : ""}`)).toEqual([
      "bad-request 400",
      "bad-name 400",
      "unauthorised 401",
      "denied 403",
      "not-found 404",
      "agent-unknown 404",
      "method-not-allowed 405",
      "upgrade-required 426",
      "too-large 413",
      "agent-away 503 retryable",
      "agent-offline 503 retryable",
      "agent-draining 503 retryable",
      "agent-stopped 503 retryable",
      "agent-replaced 503 retryable",
      "agent-restarted 502",
      "link-lost 502",
      "gateway-unreachable 502 retryable",
      "overloaded 503 retryable",
      "too-many-clients 503 retryable",
      "too-many-streams 503 retryable",
      "protocol-error 502",
      "unsupported-version 426",
      "unsupported-kind 501",
      "command-not-found 422",
      "not-executable 422",
      "cwd-not-found 422",
      "spawn-failed 422",
      "command-failed 422",
      "service-refused 502 retryable",
      "service-unreachable 502 retryable",
      "service-timeout 504 retryable",
      "service-failed 502",
      "address-in-use 409",
      "timeout 504 retryable",
      "aborted 499",
      "internal 500",
    ])
  })
})
