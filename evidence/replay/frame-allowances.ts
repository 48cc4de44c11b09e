/** Seconds of the full rate that a client may be in debt, as in `actors/connection/rate.ts`. */
const debtS = 10

interface Allowance { frames: number, atMs: number, ended: boolean }

/** The allowances that an edge would have kept of a user's connections: `actors/connection/rate.ts` over old times. */
export class FrameAllowances {
  readonly #connections = new Map<string, Allowance>()

  constructor (readonly rate: number, readonly burst: number) {}

  /** @returns `rate-limited` once, for the frame that would have ended the connection */
  take (connectionId: string, atMs: number): 'allowed' | 'throttled' | 'rate-limited' {
    const { rate, burst } = this
    if (rate === 0 || burst === 0) return 'allowed'
    let allowance = this.#connections.get(connectionId)
    if (!allowance) this.#connections.set(connectionId, allowance = { frames: burst, atMs, ended: false })
    const grown = allowance.frames + Math.max(0, atMs - allowance.atMs) * rate / 1000
    allowance.frames = Math.min(burst, grown) - 1
    allowance.atMs = atMs
    if (allowance.frames >= 0) return 'allowed'
    if (allowance.ended || allowance.frames >= -debtS * rate - burst) return 'throttled'
    allowance.ended = true
    return 'rate-limited'
  }

  forget (connectionId: string): void {
    this.#connections.delete(connectionId)
  }
}
