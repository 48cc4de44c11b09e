import type { Connected, Joined, Left, Signal } from '../schemas/frames.js'
import { quiet } from './client-error.js'
import type { EndCode, OrNewer } from './end-codes.js'
import type { ReceivedDownlink } from './inbox.js'
import { didYouMean } from '../schemas/nearest.js'
import type { Accepted } from './outbox.js'
import type { Readable } from './payloads.js'

/** What a client tells, by name. */
export interface ClientEvents {
  /** An attempt begins: the first one, or the so manieth since the last connection. */
  connecting: { readonly endpoint: string, readonly attempt: number }
  connected: Omit<Connected, 'op'> & { readonly endpoint: string }
  /** A connection ended, an attempt failed, or the client gave up. */
  disconnected: Ended
  /** Done with, and acked, once every listener's promise resolved; until then the next one waits. */
  downlink: ReceivedDownlink
  /** Business took back a downlink that this device may have been given. In order with them, and acked as they are. */
  recall: { readonly messageId: string }
  /** A listener failed at this downlink; it gets it again. */
  failed: { readonly seq: number, readonly messageId: string, readonly error: unknown, readonly retryInMs: number }
  /** A listener failed at this downlink as often as it may: the client goes on without it, and the server is told. */
  skipped: { readonly seq: number, readonly messageId: string, readonly error: unknown }
  /** Of a room where it has a `roomId`; `room.on('signal')` is told, too. */
  signal: Omit<Signal, 'op'> & Readable
  /** The server has let it into a room: one that it asked for, or that business made its user a member of. */
  joined: Omit<Joined, 'op'>
  /** It is not in the room, or no longer. */
  left: Omit<Left, 'op'>
  /** So many downlinks are gone for good. */
  missed: { readonly count: number }
  /** An uplink that an earlier run left in the storage is in the ledger. It may have been told so before it ended. */
  accepted: Accepted & { readonly service: string, readonly payload: Uint8Array }
  /** An uplink that an earlier run left in the storage can't be sent, and is gone. */
  rejected: { readonly code: string, readonly reason: string, readonly service: string, readonly payload: Uint8Array }
  /** The server took no uplink from `expectedSeq` on; they are sent again after the wait. */
  refused: { readonly expectedSeq: number, readonly code: string, readonly waitMs: number }
  /** The node is leaving; the client moves within that time. */
  migrating: { readonly withinMs: number, readonly endpoints: readonly string[], readonly reason: string }
  /** It has moved, and was connected all the time. */
  migrated: Omit<Connected, 'op'> & { readonly endpoint: string, readonly from: string }
  /** Terminal: do not reconnect without the user. */
  kicked: { readonly code: OrNewer<EndCode>, readonly reason: string, readonly willReconnect: false }
  /** Nothing could be kept this time; the client goes on with what it has in memory. */
  storageFailed: { readonly error: unknown }
  /** A function of the application threw or rejected where nobody else is told: a listener, `network`, `random`. */
  callbackFailed: { readonly callback: string, readonly error: unknown }
}

export interface Ended {
  /** A code of docs/errors.md. */
  readonly code: OrNewer<EndCode>
  readonly reason: string
  readonly willReconnect: boolean
  /** When, if so. */
  readonly retryInMs: number
}

export type Listener<Name extends keyof ClientEvents> = (event: ClientEvents[Name]) => unknown

const names = Object.keys({
  connecting: 1,
  connected: 1,
  disconnected: 1,
  downlink: 1,
  recall: 1,
  failed: 1,
  skipped: 1,
  signal: 1,
  joined: 1,
  left: 1,
  missed: 1,
  accepted: 1,
  rejected: 1,
  refused: 1,
  migrating: 1,
  migrated: 1,
  kicked: 1,
  storageFailed: 1,
  callbackFailed: 1,
} satisfies Record<keyof ClientEvents, 1>)

/** Typed listeners, by name. Whatever one of them does, the others are called, and nothing is thrown. */
export class Listeners {
  readonly #listeners = new Map<keyof ClientEvents, Listener<any>[]>()
  /** Of an event that is told again, who is done with it. */
  readonly #doneWith = new WeakMap<object, Set<Listener<any>>>()

  /** @throws TypeError for a name that no event has, and for a listener that is no function */
  add<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): void {
    checkName(name)
    if (typeof listener !== 'function') throw new TypeError(`on ${name}: want a function for a listener`)
    this.#listeners.set(name, [...this.#of(name), listener])
  }

  remove<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): void {
    checkName(name)
    this.#listeners.set(name, this.#of(name).filter(each => each !== listener))
  }

  has (name: keyof ClientEvents): boolean {
    return this.#of(name).length > 0
  }

  tell<Name extends keyof ClientEvents> (name: Name, event: ClientEvents[Name]): void {
    // Else a newcomer whose listener fails, or whose platform keeps nothing, sees nothing at all.
    if (['failed', 'skipped', 'storageFailed'].includes(name) && !this.has(name)) console.error(`ledgerline: ${name}`, event)
    for (const listener of this.#of(name)) call(listener, event).catch(error => this.failed(`on ${name}`, error, name))
  }

  /**
   * Asks every listener that is not done with `event` yet.
   *
   * @returns resolves once all are done with it; where some failed, rejects with the first failure once all are through
   */
  async ask<Name extends keyof ClientEvents> (name: Name, event: ClientEvents[Name]): Promise<void> {
    const done = this.#doneWith.get(event) ?? new Set()
    this.#doneWith.set(event, done)
    const asked = this.#of(name).filter(listener => !done.has(listener))
    const outcomes = await Promise.allSettled(asked.map(async listener => {
      await call(listener, event)
      done.add(listener)
    }))
    const failure = outcomes.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined
    if (failure) throw failure.reason
  }

  /** @param during the event that was told, if any */
  failed (callback: string, error: unknown, during?: keyof ClientEvents): void {
    if (during !== 'callbackFailed' && this.has('callbackFailed')) this.tell('callbackFailed', { callback, error })
    else console.error(`ledgerline: ${callback} failed`, error)
  }

  /** What a function of the application returns, or `otherwise` where that is not what it should be. */
  guard<T> (callback: string, run: () => T, isGood: (value: T) => boolean, otherwise: () => T): T {
    try {
      const value = run()
      if (isGood(value)) return value
      quiet(Promise.resolve(value)) // it may be one that rejects
      throw new TypeError(`${callback}: got ${typeof value}`)
    } catch (error) {
      this.failed(callback, error)
      return otherwise()
    }
  }

  #of (name: keyof ClientEvents): Listener<any>[] {
    return this.#listeners.get(name) ?? []
  }
}

/** Called at once; what it throws is a rejection. */
export function call (listener: (event: any) => unknown, event: unknown): Promise<unknown> {
  return quiet((async () => await listener(event))())
}

function checkName (name: string): void {
  if (!names.includes(name)) throw new TypeError(`"${name}" is no event.${didYouMean(name, names)}`)
}
