/** A server that wants us to stay away for longer is asked again after this. */
export const retryAfterMsMax = 3_600_000

/**
 * What the header `retry-after` asks for: seconds, or a date.
 *
 * @returns ms from now, at most `retryAfterMsMax`; undefined where it says neither
 */
export function retryAfterMs (header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined
  const text = header.trim()
  const ms = /^\d{1,10}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs
  return Number.isNaN(ms) ? undefined : Math.min(retryAfterMsMax, Math.max(0, ms))
}
