/**
 * Transfers that go on until they are told to end, so that every accident falls into their middle: bytes over any socket or body, numbered
 * messages over a WebSocket. What was written and what has come are compared when both ends say that it was all.
 */
import { createHash, randomBytes } from "node:crypto"
import { Readable, type Writable } from "node:stream"
import { type RawData, WebSocket } from "ws"

/** One direction, from the one who writes to the one who reads. */
export interface Half {
  /** Resolves when more has come; rejects when it ends meanwhile. */
  progress(): Promise<void>
  /** Whoever writes it shall write its end. */
  end(): void
  /** Resolves when its end has come, behind all of it; rejects when it was broken off, and for an end that is none of its writer's. */
  readonly over: Promise<void>
}

/** What is common to halves: who waits, and how it ended. */
class Progress {
  readonly over: Promise<void>
  #ending = false
  readonly #name: string
  readonly #over = Promise.withResolvers<void>()
  readonly #waiting = new Set<() => void>()

  constructor(name: string) {
    this.#name = name
    this.over = this.#over.promise
    this.over.catch(() => {})
  }

  get ending(): boolean {
    return this.#ending
  }

  end(): void {
    this.#ending = true
  }

  progress(): Promise<void> {
    const more = new Promise<void>((resolve) => this.#waiting.add(resolve))
    return Promise.race([more, this.over.then(() => this.#fail("it ended meanwhile"))])
  }

  protected came(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  /** Its end came; `loss` is what is not as it was written. */
  protected ended(loss: string | undefined): void {
    if (!this.#ending) this.#over.reject(new Error(`${this.#name} looks whole, but was broken off`))
    else if (loss !== undefined) this.#over.reject(new Error(`${this.#name} is not what was written: ${loss}`))
    else this.#over.resolve()
  }

  /** It was broken off. */
  broke(reason: unknown): void {
    this.#over.reject(reason)
  }

  #fail(what: string): never {
    throw new Error(`${this.#name}: ${what}`)
  }
}

/** No two places of it are alike, so that what is lost, repeated or swapped shows. */
const block = randomBytes(1_000_003)
const chunkBytesMax = 60_000

export class Bytes extends Progress implements Half {
  readonly #sent = createHash("sha256")
  readonly #came = createHash("sha256")
  #sentBytes = 0
  #cameBytes = 0

  /** For a `fetch`. */
  stream(): ReadableStream<Uint8Array> {
    const chunks = this.chunks()
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          const { done, value } = chunks.next()
          if (done === true) controller.close()
          else controller.enqueue(value)
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** What there is to write. */
  *chunks(): Generator<Buffer> {
    for (let number = 0; !this.ending; number++) {
      const at = (number * 7_919) % (block.byteLength - chunkBytesMax)
      const chunk = block.subarray(at, at + 1 + ((number * 104_729) % chunkBytesMax))
      this.#sent.update(chunk)
      this.#sentBytes += chunk.byteLength
      yield chunk
    }
  }

  take(chunk: Uint8Array): void {
    this.#came.update(chunk)
    this.#cameBytes += chunk.byteLength
    this.came()
  }

  wasAll(): void {
    const equal = this.#sentBytes === this.#cameBytes && this.#sent.digest("hex") === this.#came.digest("hex")
    this.ended(equal ? undefined : `${this.#sentBytes} bytes were written, ${this.#cameBytes} have come`)
  }
}

/** Writes a half into a stream, then its end; without a half its end at once. */
export function write(half: Bytes | undefined, to: Writable): void {
  if (half === undefined) to.end()
  else Readable.from(half.chunks(), { highWaterMark: 1 }).pipe(to)
}

/** Reads a half to its end; a stream that breaks off says so by `error`, or by being closed without an end. */
export function read(half: Bytes | undefined, from: Readable): void {
  from.on("data", (chunk: Buffer) => half?.take(chunk))
  from.on("end", () => half?.wasAll())
  from.on("error", (error) => half?.broke(error))
  from.on("close", () => half?.broke(new Error("closed without an end")))
}

/** Reads a half that comes as the body of a `fetch`. */
export async function readBody(half: Bytes, body: ReadableStream<Uint8Array> | null): Promise<void> {
  try {
    for await (const bytes of body ?? []) half.take(bytes)
  } catch (error) {
    return half.broke(error)
  }
  half.wasAll()
}

type Message = string | Buffer

/** Text and binary, empty, small, and of many frames. */
function message(number: number): Message {
  if (number % 50 === 7) return ""
  if (number % 50 === 23) return block.subarray(number, number + 400_000)
  return number % 2 === 0
    ? `${number} ${"grüße ".repeat(number % 700)}`
    : block.subarray(number % 900_000, (number % 900_000) + 1 + (number % 9_000))
}

const lastMessage = "the last"
/** Messages that a writer is ahead of its reader: a WebSocket to the HTTP edge is broken off when 32 MiB wait in the gateway. */
const aheadMax = 300

export class Messages extends Progress implements Half {
  #sent = 0
  #came = 0

  /** Whether it was the last. */
  take(came: string | Uint8Array): boolean {
    if (came === lastMessage) {
      this.ended(this.#came === this.#sent ? undefined : `${this.#sent} messages were sent, ${this.#came} have come`)
      return true
    }
    const expected = message(this.#came)
    const equal = typeof came === "string" ? came === expected : typeof expected !== "string" && expected.equals(came)
    if (!equal) this.broke(new Error(`message ${this.#came} is another one, or not as it was sent`))
    this.#came += 1
    this.came()
    return false
  }

  /** Resolves when the reader has come near enough. */
  async room(): Promise<void> {
    while (this.#sent - this.#came >= aheadMax) await this.progress()
  }

  *messages(): Generator<Message> {
    while (!this.ending) yield message(this.#sent++)
    yield lastMessage
  }
}

export interface Talk {
  readonly writes: Messages
  readonly reads: Messages
}

/** Talks over a socket of `ws`, and resolves when the last message has come and the last was sent. Rejects when the socket closes before. */
export async function talk(socket: WebSocket, { writes, reads }: Talk): Promise<void> {
  const heardAll = new Promise<void>((resolve, reject) => {
    socket.on("message", (data: RawData, binary: boolean) => {
      const bytes = data as Buffer
      if (reads.take(binary ? bytes : bytes.toString())) resolve()
    })
    socket.on("close", (code: number, reason: Buffer) => {
      const error = new Error(`closed with ${code} ${reason}`)
      reads.broke(error)
      reject(error)
    })
  })
  heardAll.catch(() => {})
  for (const each of writes.messages()) {
    if (socket.readyState !== WebSocket.OPEN) break
    await writes.room()
    // Its error is the reader's to tell.
    await new Promise<void>((resolve) => socket.send(each, () => resolve()))
  }
  await heardAll
}
