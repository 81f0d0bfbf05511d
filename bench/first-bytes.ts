/** How long plain HTTP takes to the first byte of an answer, with the platform's own fetch and its kept connections. */

/** Requests after which all processes on a path run compiled code. */
export const warmRequests = 1_500

/** Microseconds of each of `count` requests, one at a time, after `warmup` that are not counted. */
export async function firstBytes(url: string, headers: Readonly<Record<string, string>>, count: number, warmup: number): Promise<number[]> {
  const samples: number[] = []
  for (let run = 0; run < warmup + count; run++) {
    const startMs = performance.now()
    const response = await fetch(url, { headers })
    if (!response.ok) throw new Error(`${url} answers ${response.status}: ${await response.text()}`)
    const reader = response.body?.getReader()
    await reader?.read()
    if (run >= warmup) samples.push((performance.now() - startMs) * 1_000)
    while ((await reader?.read())?.done === false);
  }
  return samples
}
