import type { Connected, Signal } from '../schemas/frames.js'
import type { ReceivedDownlink } from './inbox.js'
import type { Accepted } from './outbox.js'

/** What a client tells, by name. */
export interface ClientEvents {
  /** An attempt begins: the first one, or the so manieth since the last connection. */
  connecting: { readonly endpoint: string, readonly attempt: number }
  connected: Omit<Connected, 'op'> & { readonly endpoint: string }
  /** A connection ended, an attempt failed, or the client gave up. */
  disconnected: Ended
  /** Done with, and acked, once every listener's promise resolved; until then the next one waits. */
  downlink: ReceivedDownlink
  /** A listener failed at this downlink; it gets it again. */
  failed: { readonly seq: number, readonly messageId: string, readonly error: unknown, readonly retryInMs: number }
  signal: Omit<Signal, 'op'>
  /** So many downlinks are gone for good. */
  missed: { readonly count: number }
  /** An uplink that an earlier run left in the storage is in the ledger. It may have been told so before it ended. */
  accepted: Accepted & { readonly service: string, readonly payload: Uint8Array }
  /** The server took no uplink from `expectedSeq` on; they are sent again after the wait. */
  refused: { readonly expectedSeq: number, readonly code: string, readonly waitMs: number }
  /** The node is leaving; the client moves within that time. */
  migrating: { readonly withinMs: number, readonly endpoints: readonly string[], readonly reason: string }
  /** It has moved, and was connected all the time. */
  migrated: Omit<Connected, 'op'> & { readonly endpoint: string, readonly from: string }
  /** Terminal: do not reconnect without the user. */
  kicked: { readonly code: string, readonly reason: string, readonly willReconnect: false }
  /** Nothing could be kept this time; the client goes on with what it has in memory. */
  storageFailed: { readonly error: unknown }
}

export interface Ended {
  /** A code of docs/errors.md. */
  readonly code: string
  readonly reason: string
  readonly willReconnect: boolean
  /** When, if so. */
  readonly retryInMs: number
}

export type Listener<Name extends keyof ClientEvents> = (event: ClientEvents[Name]) => unknown

/** Typed listeners, by name. */
export class Listeners {
  readonly #listeners = new Map<keyof ClientEvents, Listener<any>[]>()

  add<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): void {
    this.#listeners.set(name, [...this.#of(name), listener])
  }

  remove<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): void {
    this.#listeners.set(name, this.#of(name).filter(each => each !== listener))
  }

  has (name: keyof ClientEvents): boolean {
    return this.#of(name).length > 0
  }

  /** A listener that throws is an uncaught error of the application; it keeps nobody else from work. */
  tell<Name extends keyof ClientEvents> (name: Name, event: ClientEvents[Name]): void {
    for (const listener of this.#of(name)) {
      try {
        listener(event)
      } catch (err) {
        setTimeout(() => { throw err })
      }
    }
  }

  /** @returns what each listener makes of it; a throw is a rejection */
  ask<Name extends keyof ClientEvents> (name: Name, event: ClientEvents[Name]): Promise<unknown>[] {
    return this.#of(name).map(async listener => await listener(event))
  }

  #of (name: keyof ClientEvents): Listener<any>[] {
    return this.#listeners.get(name) ?? []
  }
}
