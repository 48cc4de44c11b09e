import { setImmediate as loopTurn, setTimeout as sleep } from 'node:timers/promises'

/** Who has used the event loop for so long in one turn is live traffic, and expects more of it for so long. */
const othersMs = 0.1
const busyMs = 1_000
const restMs = 1

/**
 * Turns that come one at a time, in order of asking, for long work that may wait. Between two the event loop serves
 * live traffic; where there is any, it then sleeps for a while: as long as it runs, the scheduler may keep the thread
 * that commits waiting.
 */
export function turnstile (): () => Promise<void> {
  let free: Promise<void> = Promise.resolve()
  let busyUntilMs = 0

  async function breathe (): Promise<void> {
    await loopTurn() // the reader's
    const startedMs = performance.now()
    await loopTurn() // the others'
    const nowMs = performance.now()
    if (nowMs - startedMs > othersMs) busyUntilMs = nowMs + busyMs
    if (nowMs < busyUntilMs) await sleep(restMs)
  }

  return () => {
    const turn = free
    free = turn.then(breathe)
    return turn
  }
}
