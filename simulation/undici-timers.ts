import { createRequire } from 'node:module'

/**
 * undici keeps one clock for all its timers in a process. Here a process has many hosts, and worlds that come one after
 * the other: each timer is one of the host that sets it, as `setTimeout` makes it.
 */
export function replaceUndiciTimers (): void {
  const require = createRequire(import.meta.url)
  Object.assign(require('undici/lib/util/timers.js') as object, {
    setTimeout: (...args: Parameters<typeof setTimeout>) => setTimeout(...args),
    clearTimeout: (timer: NodeJS.Timeout) => { clearTimeout(timer) },
    setFastTimeout: (...args: Parameters<typeof setTimeout>) => setTimeout(...args),
    clearFastTimeout: (timer: NodeJS.Timeout) => { clearTimeout(timer) },
    now: () => performance.now(),
  })
}
