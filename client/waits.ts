/** No wait is longer, whoever asks for it. A timer of JavaScript that is set for over 24 days runs at once. */
export const waitMsMax = 600_000

/**
 * What a server, ip-config or the application names as a time, made one to wait for: every one of them passes here.
 *
 * @param otherwise where `ms` is no number above 0
 * @returns at least `minMs` and at most 10 minutes
 */
export function boundedWait (ms: unknown, otherwise = 0, minMs = 0): number {
  return typeof ms === 'number' && ms > 0 ? Math.min(Math.max(ms, minMs), waitMsMax) : otherwise
}

/** HTTP's Retry-After, seconds or a date, in ms; 0 where it is absent or says nothing. */
export function retryAfterMsOf (header = '', nowMs = Date.now()): number {
  return boundedWait(/^\d+$/.test(header.trim()) ? 1000 * Number(header) : Date.parse(header) - nowMs)
}

/** A service over HTTP that answered with anything but what was asked for, and perhaps how long to stay away. */
export class RefusedError extends Error {
  readonly retryAfterMs: number

  constructor (status: number | undefined, retryAfter?: string | null) {
    super(`it answered ${status}`)
    this.retryAfterMs = retryAfterMsOf(retryAfter ?? '')
  }
}
