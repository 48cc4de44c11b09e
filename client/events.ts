import type { Connected, Downlink, Signal } from '../schemas/frames.js'

/** What a client tells, by name. */
export interface ClientEvents {
  /** An attempt begins. */
  connecting: { readonly endpoint: string }
  connected: Omit<Connected, 'op'> & { readonly endpoint: string }
  /** A connection ended, or an attempt failed. */
  disconnected: Ended
  /** Acked once every listener's promise resolved; until then the next one waits. */
  downlink: Omit<Downlink, 'op'>
  signal: Omit<Signal, 'op'>
  /** So many downlinks are gone for good. */
  missed: { readonly count: number }
  /** The server took no uplink from `expectedSeq` on; they are sent again after the wait. */
  refused: { readonly expectedSeq: number, readonly code: string, readonly waitMs: number }
  /** The node is leaving; the client moves within that time. */
  migrating: { readonly withinMs: number, readonly endpoints: readonly string[], readonly reason: string }
  /** Terminal: do not reconnect without the user. */
  kicked: { readonly code: string, readonly reason: string }
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

  /** @returns what each listener returned */
  tell<Name extends keyof ClientEvents> (name: Name, event: ClientEvents[Name]): unknown[] {
    return this.#of(name).map(listener => listener(event))
  }

  #of (name: keyof ClientEvents): Listener<any>[] {
    return this.#listeners.get(name) ?? []
  }
}
