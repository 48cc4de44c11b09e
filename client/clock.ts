/** Time as the client measures it. Tests have one of their own. */
export interface Clock {
  /** Monotonic, in ms: every age and every wait is taken from it, whatever is done to the time of day. */
  nowMs (): number
  /** Time of day, in ms: beside `nowMs` it shows that the machine slept, and it decides nothing else. */
  wallMs (): number
  /** @returns what cancels it */
  after (ms: number, run: () => void): () => void
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after (ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}

/** @throws Error where `answer`, which an application may never settle, has not settled in time */
export async function within<T> (ms: number, answer: T | Promise<T>, clock: Clock): Promise<T> {
  let cancel = () => {}
  const late = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(ms, () => reject(new Error(`no answer for ${ms} ms`)))
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    cancel()
  }
}
