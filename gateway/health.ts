import type { Logger } from 'pino'
import { type Clock, processClock } from '../ledger/clock.js'
import { type ConditionName, conditions, type Health } from '../schemas/conditions.js'
import type { Check, Readiness } from './http/health.js'

/** One trouble that lasts. */
export interface Trouble {
  readonly condition: ConditionName
  /** Which one of its kind; empty where there is one only. */
  readonly what: string
  readonly reason: string
  /** Ms since 1970. */
  readonly sinceMs: number
  readonly heals: string
  /** The node is not ready because of it. */
  readonly stops: boolean
}

export interface HealthAnswer {
  readonly ready: boolean
  /** Oldest first, at most `troublesMax`. */
  readonly troubles: readonly Trouble[]
  /** With those that are not named. */
  readonly total: number
}

interface Lasting {
  reason: string
  readonly sinceMs: number
  readonly begunMs: number
  /** It has outlasted its grace. */
  shown: boolean
  readonly cancel: () => void
}

interface Watched {
  readonly name: ConditionName
  readonly what: string
  readonly check: () => string
}

/** Troubles that one answer names. */
export const troublesMax = 200

const pollEveryMs = 1_000

/**
 * The one registry of what is wrong with this node (see `Health`). Kinds with many instances are logged once: a Redis
 * that goes away takes a hundred partitions with it, which is one trouble.
 */
export class HealthRegistry implements Health {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #lasting = new Map<ConditionName, Map<string, Lasting>>()
  /** Kinds that the log was told of, and how many instances each has had. */
  readonly #told = new Map<ConditionName, { readonly sinceMs: number, instances: number }>()
  readonly #checks = new Map<string, Watched>()
  #polling: (() => void) | undefined

  constructor (logger: Logger, clock = processClock) {
    this.#logger = logger
    this.#clock = clock
  }

  begin (name: ConditionName, reason: string, what = ''): void {
    const instances = this.#instances(name)
    const known = instances.get(what)
    if (known) {
      known.reason = reason
      return
    }
    const { graceMs } = conditions[name]
    const lasting: Lasting = {
      reason,
      sinceMs: Date.now(),
      begunMs: this.#clock.nowMs(),
      shown: false,
      cancel: graceMs === 0 ? () => {} : this.#clock.after(graceMs, () => { this.#show(name, what, lasting) }),
    }
    instances.set(what, lasting)
    if (graceMs === 0) this.#show(name, what, lasting)
    else this.#logger.debug({ condition: name, what, reason }, 'something is wrong, maybe for a moment')
  }

  end (name: ConditionName, what = ''): void {
    const instances = this.#lasting.get(name)
    const lasting = instances?.get(what)
    if (!instances || !lasting) return
    lasting.cancel()
    instances.delete(what)
    const told = this.#told.get(name)
    if (!told || this.#shown(name).length > 0) return
    this.#told.delete(name)
    const tookMs = Math.round(this.#clock.nowMs() - told.sinceMs)
    this.#logger.warn({ condition: name, tookMs, instances: told.instances }, 'trouble has ended')
  }

  /**
   * For what can be looked at: `check` is called once a second and at each question, and returns why it is not well,
   * or an empty string.
   *
   * @returns what stops it
   */
  watch (name: ConditionName, check: () => string, what = ''): () => void {
    const key = `${name} ${what}`
    this.#checks.set(key, { name, what, check })
    this.#poll(key)
    this.#polling ??= this.#pollLater()
    return () => {
      this.#checks.delete(key)
      this.end(name, what)
    }
  }

  /** Nothing is looked at any more. What was begun stays so. */
  stop (): void {
    this.#polling?.()
    this.#polling = undefined
    this.#checks.clear()
  }

  /** For `/readyz`: every condition by name, well or not. */
  readiness (): Readiness {
    this.#pollAll()
    const checks: Record<string, Check> = {}
    let ready = true
    for (const name of Object.keys(conditions) as ConditionName[]) {
      const shown = this.#shown(name)
      if (shown.length > 0 && conditions[name].stops) ready = false
      checks[name] = { ok: shown.length === 0, reason: summary(shown) }
    }
    return { ready, checks }
  }

  /** For `/v1/health`: everything that lasts, with since when and what ends it. */
  answer (): HealthAnswer {
    const { ready } = this.readiness()
    const troubles: Trouble[] = []
    for (const name of this.#lasting.keys()) {
      const { heals, stops } = conditions[name]
      for (const [what, { reason, sinceMs }] of this.#shown(name)) {
        troubles.push({ condition: name, what, reason, sinceMs, heals, stops })
      }
    }
    troubles.sort((a, b) => a.sinceMs - b.sinceMs)
    return { ready, troubles: troubles.slice(0, troublesMax), total: troubles.length }
  }

  /** For the metric: how long each condition has lasted, 0 for those that are well. */
  seconds (): ReadonlyMap<ConditionName, number> {
    this.#pollAll()
    const seconds = new Map<ConditionName, number>()
    for (const name of Object.keys(conditions) as ConditionName[]) {
      const oldest = this.#shown(name).reduce((oldest, [, { begunMs }]) => Math.min(oldest, begunMs), Infinity)
      seconds.set(name, oldest === Infinity ? 0 : (this.#clock.nowMs() - oldest) / 1_000)
    }
    return seconds
  }

  #instances (name: ConditionName): Map<string, Lasting> {
    let instances = this.#lasting.get(name)
    if (!instances) this.#lasting.set(name, instances = new Map())
    return instances
  }

  #shown (name: ConditionName): Array<[string, Lasting]> {
    return [...this.#lasting.get(name) ?? []].filter(([, { shown }]) => shown)
  }

  #show (name: ConditionName, what: string, lasting: Lasting): void {
    lasting.shown = true
    const told = this.#told.get(name)
    if (told) {
      told.instances++
      return
    }
    this.#told.set(name, { sinceMs: lasting.begunMs, instances: 1 })
    const { meaning, heals } = conditions[name]
    this.#logger.warn({ condition: name, what, reason: lasting.reason, meaning, heals }, 'trouble has begun')
  }

  #pollLater (): () => void {
    return this.#clock.after(pollEveryMs, () => {
      this.#pollAll()
      if (this.#polling) this.#polling = this.#pollLater()
    })
  }

  #pollAll (): void {
    for (const key of this.#checks.keys()) this.#poll(key)
  }

  #poll (key: string): void {
    const { name, what, check } = this.#checks.get(key)!
    const reason = check()
    if (reason === '') this.end(name, what)
    else this.begin(name, reason, what)
  }
}

function summary (shown: ReadonlyArray<[string, Lasting]>): string {
  const [first] = shown
  if (!first) return ''
  const [what, { reason }] = first
  const text = what === '' ? reason : `${what}: ${reason}`
  return shown.length === 1 ? text : `${text} (and ${shown.length - 1} more)`
}
