/** A clock that was never set shows a time before this one. */
const clockSetMs = Date.UTC(2020, 0)
/** By how much a clock may be ahead of ours and still be believed. */
const aheadMsMax = 60_000

/** Whether a stored time can be right, as far as one can tell at `nowMs`. Both in ms since 1970. */
export function canBe (atMs: number, nowMs: number): boolean {
  return atMs <= nowMs + aheadMsMax && (atMs >= clockSetMs || nowMs < clockSetMs)
}

/** Milliseconds by a clock that nobody sets. */
export interface Clock {
  nowMs (): number
  /** @returns what cancels it */
  after (ms: number, task: () => void): () => void
}

/** That of this process, which does not live on for what is still to be done. */
export const processClock: Clock = {
  nowMs: () => performance.now(),
  after (ms, task) {
    const timer = setTimeout(task, ms).unref()
    return () => { clearTimeout(timer) }
  },
}
