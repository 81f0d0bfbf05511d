/** What a caller asks for, checked before anything is sent: the same schemas as the agent's, with an error for people. */
import { InvalidBody, TunnelError } from "@trunkline/protocol"

/** Throws TunnelError `bad-request` where `check` throws InvalidBody. */
export function checkRequest<Request>(check: () => Request): Request {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof InvalidBody)) throw error
    throw new TunnelError("bad-request", error.message, { cause: error })
  }
}
