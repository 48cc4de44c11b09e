import type { Effect, Publish } from '../../../actors/user/effects.js'
import { fold } from '../../../actors/user/fold.js'
import { newUser, type UserState } from '../../../actors/user/state.js'
import type {
  BanLifted, DownlinkRecalled, DownlinkRedelivered, Entry, Fact, KickRequested, RoomGranted, RoomRevoked, TokenRenewed,
  UserBanned,
} from '../../../schemas/facts.js'
import type { RoomRight } from '../../../schemas/room-rights.js'
import { minute } from '../../facts.js'

export { closed, minute, opened, requested } from '../../facts.js'

/** What a user's history is made of, and what its fold makes of it. */

export function at (atMs: number, fact: Fact): Entry {
  return { userId: 'ann', atMs, fact }
}

export function uplink (connectionId: string, seq: number): Fact {
  return { type: 'UplinkReceived', connectionId, seq, service: '', payload: Buffer.from(`u${seq}`), priority: 0, roomId: '' }
}

export function reported (connectionId: string, ackedSeq: number, writtenSeq = ackedSeq): Fact {
  return { type: 'DeliveryReported', connectionId, writtenSeq, ackedSeq }
}

export function skipped (connectionId: string, seq: number, reason = 'no handler'): Fact {
  return { type: 'DownlinkSkipped', connectionId, seq, reason }
}

export function kicked (requestId: string, connectionId = ''): KickRequested {
  return { type: 'KickRequested', requestId, connectionId, reason: 'test', by: '' }
}

export function banned (banId: string, more: Partial<UserBanned> = {}): UserBanned {
  return { type: 'UserBanned', banId, deviceId: '', tokenId: '', untilMs: 0, reason: 'spam', by: '', ...more }
}

export function lifted (banId: string): BanLifted {
  return { type: 'BanLifted', banId, reason: '', by: '' }
}

export function granted (requestId: string, roomId: string, rights: RoomRight = 'rw'): RoomGranted {
  return { type: 'RoomGranted', roomId, rights, requestId, by: '' }
}

export function revoked (requestId: string, roomId: string): RoomRevoked {
  return { type: 'RoomRevoked', roomId, requestId, by: '', reason: '' }
}

export function renewed (connectionId: string, renewal: number, tokenId: string): TokenRenewed {
  return { type: 'TokenRenewed', connectionId, renewal, tokenId }
}

/** An edge had no room for two uplinks. */
export function refused (connectionId: string, fromSeq = 1): Fact {
  return { type: 'UplinksRefused', connectionId, fromSeq, toSeq: fromSeq + 1, code: 'throttled', count: 2 }
}

export function recalled (messageId: string, requestId = 'q1', with_: Partial<DownlinkRecalled> = {}): DownlinkRecalled {
  return {
    type: 'DownlinkRecalled',
    messageId,
    requestId,
    by: '',
    reason: '',
    noticeId: '',
    noticeTtlMs: 60_000,
    outboxBytesMax: 0,
    receipts: false,
    ...with_,
  }
}

export function redelivered (messageId: string, requestId = 'r1', deviceId = 'phone'): DownlinkRedelivered {
  return {
    type: 'DownlinkRedelivered',
    requestId,
    deviceId,
    seq: 1,
    messageId,
    service: '',
    payload: Buffer.from(messageId),
    ttlMs: minute,
    outboxBytesMax: 0,
    by: '',
    reason: '',
    receipts: false,
  }
}

/** The state after these facts, one a second from time 0, or entries with times of their own. */
export function given (...history: Array<Fact | Entry>): UserState {
  const state = newUser()
  play(state, history)
  return state
}

/** Folds these facts and gives all of their effects, in order. */
export function play (state: UserState, history: Array<Fact | Entry>): Effect[] {
  return history.flatMap((step, i) => fold(state, 'fact' in step ? step : at(i * 1_000, step)))
}

/** One fact's effects in short: what a reader of the test wants to see of them. */
export function effectsOf (state: UserState, step: Fact | Entry): string[] {
  return play(state, [step]).map(shortly)
}

export function shortly (effect: Effect): string {
  switch (effect.type) {
    case 'welcome': {
      const { connectionId, resumed, uplinkSeq, downlinkSeq, lastSeq, missed } = effect
      return `welcome ${connectionId} ${resumed ? 'resumed' : 'new'} up ${uplinkSeq} down ${downlinkSeq}` +
        `${lastSeq > downlinkSeq ? `..${lastSeq}` : ''}${missed ? ` missed ${missed}` : ''}`
    }
    case 'ackUplink': return `ack ${effect.connectionId} ${effect.seq}=${effect.userSeq}`
    case 'refuseUplink': return `refuse ${effect.connectionId} ${effect.code} expected ${effect.expectedSeq}`
    case 'deliver': return `deliver ${effect.connectionId} ${effect.seq} ${effect.downlink.messageId}`
    case 'tellMemberships': return `rooms ${effect.connectionId}`
    case 'closeConnection': return `close ${effect.connectionId} ${effect.code}`
    case 'publishUplink': return `publish ${effect.uplink.deviceId} ${effect.uplink.seq}=${effect.uplink.userSeq}`
    case 'publish': return `publish ${publishedShortly(effect)}`
    case 'post': return `post ${effect.fact.roomId} ${effect.fact.seq}=${effect.userSeq}`
    case 'settle': {
      const { messageId, deviceId, seq, outcome, reason } = effect
      return `${outcome}${reason ? `(${reason})` : ''} ${messageId} ${deviceId}#${seq}`
    }
  }
}

function publishedShortly ({ stream, record }: Publish): string {
  switch (stream) {
    case 'presence': {
      const { presenceSeq, deviceId, change, userChanged, cause, atMs } = record
      return `presence ${presenceSeq} ${deviceId} ${change}${userChanged ? ' user' : ''} ${cause} @${atMs}`
    }
    case 'receipts': {
      const { receiptSeq, messageId, deviceId, seq, outcome, reason } = record
      return `receipt ${receiptSeq} ${messageId} ${deviceId}#${seq} ${outcome}${reason ? `(${reason})` : ''}`
    }
    case 'offline': {
      const { offlineSeq, messageId, change, deviceIds, reason } = record
      return `offline ${offlineSeq} ${messageId} ${change}${reason ? `(${reason})` : ''} ${deviceIds.join(',')}`
    }
  }
}
