import t from 'tap'
import type { EdgeContext } from '../../../actors/connection/edge-context.js'
import { Lifetime, tickMs } from '../../../actors/connection/lifetime.js'
import { endOf } from '../../../actors/connection/token.js'
import { RoomPatterns } from '../../../schemas/room-rights.js'

t.test('A token is good for all of its time, wherever in a tick that begins', async t => {
  const leftMs = 1_000
  for (let inTickMs = 0; inTickMs < tickMs; inTickMs += 10) {
    const startMs = 5 * tickMs + inTickMs
    const ticks = (ms: number) => Math.trunc(ms / tickMs)
    const edge = { ticks: () => ticks(startMs) } as EdgeContext
    const life = new Lifetime(0, 0, 1_000)
    // the wall clock may go on for some milliseconds before it is read again
    const identity = { userId: 'u', deviceId: 'd', tokenId: '', rooms: RoomPatterns.none, expiresAtMs: 0, endsAtMs: Date.now() + leftMs }
    life.open(edge.ticks(), endOf(edge, identity))
    t.notOk(life.isExpired(ticks(startMs + leftMs - 5)), `from ${inTickMs} ms of a tick, not before its end`)
    t.ok(life.isExpired(ticks(startMs + leftMs + 2 * tickMs)), `from ${inTickMs} ms of a tick, soon after it`)
  }
})
