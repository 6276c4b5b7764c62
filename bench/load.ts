import autocannon from 'autocannon'

export type Load = {
  url: string
  connections: number
  /** How many requests are sent. */
  amount: number
  method: 'GET' | 'POST'
  headers?: Record<string, string>
  /** Makes each request its own, such as another code for each. It is called once for a request. */
  next?: () => { path?: string; body?: string; headers?: Record<string, string> }
}

/**
 * Sends requests over HTTP connections that are kept open, each with one request in flight.
 *
 * @returns answers a second.
 * @throws Error if one answer is not 2xx: refused work would look fast.
 */
export async function requestsPerSecond(load: Load): Promise<number> {
  const { url, connections, amount, method, headers = {}, next } = load
  const begun = performance.now()
  let ended = begun
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon(
      {
        url,
        connections,
        amount,
        // Seconds. A request that is slower than this counts as failed.
        timeout: 30,
        requests: [
          {
            method,
            headers,
            ...(next === undefined ? {} : { setupRequest: (request) => merge(request, next()) }),
          },
        ],
      },
      (error, all) => (error === null ? resolve(all) : reject(error)),
    )
    // autocannon itself ends at the next full second.
    run.on('response', () => {
      ended = performance.now()
    })
  })
  const seconds = (ended - begun) / 1000
  const failed = result.non2xx + result.errors
  if (failed > 0) throw new Error(`${failed} of ${amount} requests to ${url} failed`)
  return amount / seconds
}

function merge(request: autocannon.Request, own: ReturnType<NonNullable<Load['next']>>) {
  return { ...request, ...own, headers: { ...request.headers, ...own.headers } }
}
