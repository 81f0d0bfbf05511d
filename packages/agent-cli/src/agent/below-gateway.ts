/** A place of the gateway's API, below the path its URL may have. */
export const belowGateway = (gateway: URL, path: string): URL =>
  new URL(path, gateway.pathname.endsWith("/") ? gateway : new URL(`${gateway.pathname}/`, gateway))
