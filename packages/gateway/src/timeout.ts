/** A bound on calls between the parts of the gateway: a pending call keeps an object in memory, and so billed. */

const callTimeoutMs = 2_000

/** The call's result; rejects after `timeoutMs`, while the call itself goes on unheard. */
export async function withTimeout<T>(call: Promise<T>, what: string, timeoutMs = callTimeoutMs): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([call, expired])
  } finally {
    clearTimeout(timer)
  }
}
