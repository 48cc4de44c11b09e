import type { Ping } from '../../schemas/frames.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import type { EdgeLimits } from './edge-context.js'
import { downlinkAcked } from './downlinks.js'
import { tickMs } from './lifetime.js'

/** A client is taken for lost after so many times what it may be silent: a ping and its repeat may be late. */
const patience = 2.5

/** The client lives, and may say what it has processed and how long it means to be silent from now on. */
export function ping (connection: Connection, { downlinkSeq, silentMs }: Ping): void {
  if (silentMs < 0) {
    closeConnection(connection, 'protocol', `silentMs of ${silentMs} is below 0`)
    return
  }
  connection.life.allow(silenceOf(connection.edge.limits, silentMs))
  connection.cursor.answered()
  if (downlinkSeq !== 0) downlinkAcked(connection, downlinkSeq)
  connection.write({ op: 'pong', uplinkSeq: connection.window.ackedSeq })
}

/**
 * How long a client may be silent that means to be so for `silentMs`, ticks: as long as any, or longer, but not longer
 * than `silenceMaxMs` for having asked.
 */
export function silenceOf ({ heartbeatMs, silenceMaxMs }: EdgeLimits, silentMs: number): number {
  const asked = Math.min(patience * silentMs, silenceMaxMs)
  return Math.ceil(Math.max(patience * heartbeatMs, asked) / tickMs)
}
