import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { blackHole } from './network.js'
import type { SdkTraffic } from './sdk-traffic.js'

/** Tokens are good for an hour. */
const jumpMs = 1_800_000

/** Short, so that what is dead is found dead within this test. */
export const heartbeatMs = 8_000
export const leaseMs = 8_000

/** For 20 s nothing gets to these listeners, or from them. */
export async function withoutNetwork (t: Test, traffic: SdkTraffic, urls: readonly string[]): Promise<void> {
  const before = await traffic.interruptions()
  const restore = blackHole(t, urls)
  await sleep(20_000)
  restore()
  await traffic.heals(t)
  const { disconnected } = await traffic.interruptions()
  t.comment(`told ${disconnected - before.disconnected} times that there is no connection`)
}

/** Forth, far back, and to where it was. */
export async function timeJumps (t: Test, traffic: SdkTraffic, jump: (ms: number) => unknown): Promise<void> {
  const before = await traffic.interruptions()
  for (const ms of [jumpMs, -2 * jumpMs]) {
    await jump(ms)
    await sleep(leaseMs + 1_000)
    await traffic.heals(t)
  }
  await jump(jumpMs)
  await traffic.heals(t)
  t.strictSame(await traffic.interruptions(), before, 'nobody was disconnected')
}
