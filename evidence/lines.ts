import type { Effect } from '../actors/user/effects.js'
import type { ConnectionClosed, ConnectionOpened, Entry } from '../schemas/facts.js'

/** One connection of a user, as far as the entries folded so far tell. */
export interface Line {
  readonly connectionId: string
  readonly nodeId: string
  readonly openedAtMs: number
  readonly opened: ConnectionOpened
  /** The device's connection before this one; undefined for its first. */
  readonly before: Line | undefined
  /** Our own decision to end it, which its edge carries out. */
  closing?: { readonly atMs: number, readonly cause: string, readonly reason: string, readonly by: string }
  end?: End
}

export interface End {
  readonly atMs: number
  /** What ended it, more precisely than the code: `kicked-by-operator`. */
  readonly cause: string
  readonly closed: ConnectionClosed
}

/** All connections of a user that the kept ledger knows. */
export class Lines {
  readonly #byId = new Map<string, Line>()
  readonly #lastOf = new Map<string, Line>()
  /** Who asked for bans, by what their clients are told: a connection may be ended by one that was there before it. */
  readonly #bannedBy = new Map<string, string>()
  /** Facts tell of connections whose opening is not kept. */
  hasStrangers = false

  get (connectionId: string): Line | undefined { return this.#byId.get(connectionId) }

  /** The last connection of a device, open or not. */
  lastOf (deviceId: string): Line | undefined { return this.#lastOf.get(deviceId) }

  /** In the order in which they opened. */
  all (): Iterable<Line> { return this.#byId.values() }

  after ({ atMs, fact }: Entry, effects: readonly Effect[]): void {
    if (fact.type === 'ConnectionOpened') this.#open(fact, atMs)
    else if ('connectionId' in fact && fact.type !== 'KickRequested') this.#known(fact.connectionId)
    if (fact.type === 'ConnectionClosed') {
      const line = this.#byId.get(fact.connectionId)
      if (line) line.end ??= { atMs, cause: causeOf(fact.code, line), closed: fact }
    }
    if (fact.type === 'UserBanned') this.#bannedBy.set(fact.reason, fact.by)
    for (const effect of effects) {
      if (effect.type !== 'closeConnection') continue
      const line = this.#byId.get(effect.connectionId)
      if (!line || line.closing) continue
      const { code, reason } = effect
      const cause = code !== 'kicked' ? code : fact.type === 'KickRequested' ? 'kicked-by-operator' : 'kicked-by-policy'
      const by = code === 'banned' ? this.#bannedBy.get(reason) : fact.type === 'KickRequested' ? fact.by : ''
      line.closing = { atMs, cause, reason, by: by ?? '' }
    }
  }

  #open (opened: ConnectionOpened, openedAtMs: number): void {
    const { connectionId, nodeId, deviceId } = opened
    if (this.#byId.has(connectionId)) return
    const line: Line = { connectionId, nodeId, openedAtMs, opened, before: this.#lastOf.get(deviceId) }
    this.#byId.set(connectionId, line)
    this.#lastOf.set(deviceId, line)
  }

  #known (connectionId: string): void {
    if (!this.#byId.has(connectionId)) this.hasStrangers = true
  }
}

/** Every kick has the same code; who wanted it is in the entry that asked for it. */
function causeOf (code: string, { closing }: Line): string {
  return code === 'kicked' && closing ? closing.cause : code
}

/** Who asked for what an operator may ask for. */
export function operatorInWords (by: string): string {
  return by === '' ? 'an operator' : `an operator with the key ${by}`
}

/** `connection c7 on n1` */
export function nameOf ({ connectionId, nodeId }: { connectionId: string, nodeId: string }): string {
  return `connection ${connectionId} on ${nodeId}`
}

const inWords: Readonly<Record<string, string>> = {
  'heartbeat-timeout': 'was silent for too long',
  'slow-consumer': 'read too slowly for what it was sent',
  migrating: 'was asked to go to another node',
  'rate-limited': 'sent too many frames',
  'token-expired': 'had a token that expired',
  protocol: 'broke the protocol',
  'bad-frame': 'sent a frame that can not be read',
  internal: 'ended by a fault of ours',
  'kicked-by-operator': 'was kicked by an operator',
  'kicked-by-policy': 'was kicked by the login policy',
  banned: 'was banned',
  superseded: 'was superseded by a newer one of the device',
  disconnected: 'was closed by its client',
  'connection-lost': 'was lost',
  'node-lost': 'was lost with its node',
}

/** How a connection ended, as the end of a sentence about it. */
export function endInWords (cause: string): string {
  return `${inWords[cause] ?? 'ended'} (${cause})`
}
