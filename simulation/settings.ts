import type { Environment } from '../gateway/setting.js'
import type { Random } from './random.js'

/** Settings of all nodes that differ from world to world. */
export interface DrawnSettings {
  readonly environment: Environment
  /** Whether the streams that business may do without are written. */
  readonly tells: boolean
  /** Whether a service of business is asked about tokens. */
  readonly asksAboutTokens: boolean
  /** Whether more may come to a node than it has time for. */
  readonly isCrowded: boolean
}

/** Of worlds, those in which a device may be away for a while, and those in which downlinks are handed over. */
const graceShare = 0.4
const offlineShare = 0.4
/** Those in which a connection may little, so that devices send too much, and those in which none is kept for long. */
const narrowShare = 0.3
const agedShare = 0.2
/** Those in which business judges tokens, and those in which nodes have too much to do. */
const askingShare = 0.3
const crowdedShare = 0.15
/** Where nobody is told of presence, saved states are more often what an older build could have saved. */
const silentShare = 0.2

export function drawnSettings (random: Random): DrawnSettings {
  const environment: Record<string, string> = {}
  if (random.chance(graceShare)) environment['LEDGERLINE_PRESENCE_GRACE_MS'] = String(1_000 + random.below(9_000))
  if (random.chance(offlineShare)) environment['LEDGERLINE_OFFLINE_AFTER_MS'] = String(500 + random.below(7_500))
  const tells = !random.chance(silentShare)
  if (!tells) environment['LEDGERLINE_STREAMS_OFF'] = 'presence,receipts,offline'
  if (random.chance(narrowShare)) {
    environment['LEDGERLINE_UPLINK_WINDOW'] = String(4 + random.below(28))
    environment['LEDGERLINE_FRAME_RATE'] = String(10 + random.below(20))
    environment['LEDGERLINE_FRAME_BURST'] = String(20 + random.below(40))
  }
  if (random.chance(agedShare)) environment['LEDGERLINE_CONNECTION_AGE_MAX_MS'] = String(20_000 + random.below(60_000))
  const asksAboutTokens = random.chance(askingShare)
  const isCrowded = random.chance(crowdedShare)
  if (isCrowded) environment['LEDGERLINE_OVERLOAD_WAIT_MS'] = String(3 + random.below(15))
  return { environment, tells, asksAboutTokens, isCrowded }
}
