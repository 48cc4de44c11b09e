import type { BanLifted, Entry, TokenRenewed, UserBanned } from '../../schemas/facts.js'
import { banOn, isInForce, isOn, keepBan } from './bans.js'
import { EffectList } from './effect-list.js'
import type { Effect } from './effects.js'
import { endConnection, sessionOf } from './fold-connections.js'
import { nameOf, noContent } from '../requests.js'
import type { UserState } from './state.js'

/** Who is kept out from now on, and who no more. */

const nothing: Effect[] = []

/** His sessions stay, and with them what waits for him: until its time is over, or he may come again. */
export function userBanned (state: UserState, entry: Entry, fact: UserBanned): Effect[] {
  const { atMs } = entry
  const isFirst = state.requests.take(nameOf.ban(fact.banId), noContent, atMs) === 'first'
  if (!isFirst || state.bans.has(fact.banId)) return nothing
  const ban = keepBan(state.bans, fact, atMs)
  state.bansChanged = true
  if (!isInForce(ban, atMs)) return nothing
  const effects = new EffectList(state, entry)
  for (const session of state.sessions.values()) {
    const { connectionId, deviceId } = session
    if (connectionId === '' || !isOn(ban, deviceId, state.connections.get(connectionId)!.tokenId)) continue
    endConnection(state, session, 'banned', ban.reason, effects, { by: ban.by })
  }
  return effects.all
}

/** One that is not there is lifted for good, too: a lift that is told again must not differ from the first. */
export function banLifted (state: UserState, { atMs }: Entry, { banId }: BanLifted): Effect[] {
  state.requests.take(nameOf.ban(banId), noContent, atMs)
  if (state.bans.delete(banId)) state.bansChanged = true
  return nothing
}

export function tokenRenewed (
  state: UserState, entry: Entry, { connectionId, renewal, tokenId }: TokenRenewed
): Effect[] {
  const { atMs } = entry
  const connection = state.connections.get(connectionId)
  if (!connection?.open || renewal <= connection.renewals) return nothing
  connection.tokenId = tokenId
  connection.renewals = renewal
  connection.changed = true
  const session = sessionOf(state, connection)
  const ban = banOn(state.bans, connection.deviceId, tokenId, atMs)
  if (!ban || session?.connectionId !== connectionId) return nothing
  const effects = new EffectList(state, entry)
  endConnection(state, session, 'banned', ban.reason, effects, { by: ban.by })
  return effects.all
}
