/** What came of one attempt to deliver one object. */
export type DeliveryOutcome =
  | { outcome: 'delivered'; detail: string }
  /** It may succeed later. */
  | { outcome: 'failed'; detail: string; retryAfterSeconds?: number }
  /** It will not succeed unchanged: somebody has to look at it. */
  | { outcome: 'refused'; detail: string }

/** An object on its way to a destination. */
export interface ObjectToDeliver {
  path: string
  byteLength: number
  sopClassUid: string
  sopInstanceUid: string
  seriesInstanceUid: string
  studyInstanceUid: string
}

export const maxAttempts = 40
const firstDelaySeconds = 2
const longestDelaySeconds = 900

/**
 * Seconds until the next attempt: exponential with full jitter, so that many deliveries do not return at one moment, and not before the
 * destination's Retry-After. Forty attempts span about nine hours.
 * @param attempts so many have been made
 */
export function delayBeforeRetry(attempts: number, retryAfterSeconds = 0, random: () => number = Math.random): number {
  const ceiling = Math.min(longestDelaySeconds, firstDelaySeconds * 2 ** Math.min(attempts - 1, 20))
  return Math.max(0.2 + random() * ceiling, Math.min(retryAfterSeconds, longestDelaySeconds * 4))
}
