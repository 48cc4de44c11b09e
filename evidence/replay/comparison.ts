import type { Deliver } from '../../actors/user/effects.js'
import type { UserState } from '../../actors/user/state.js'
import { formatPosition } from '../../ledger/log.js'
import type { Placed } from '../trace.js'
import { type Answer, answersOf, describeAnswer, kindsOfDifference } from './answers.js'
import { shownUser } from '../../schemas/apps.js'

/** A fold and the state that it begins with; another build's may be of any shape. */
export interface Folding {
  fold (state: any, entry: Placed['entry']): Iterable<Answer>
  newUser (): any
}

/** One entry to which the two folds answer differently. */
export interface Difference {
  readonly position: string
  readonly atMs: number
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  /** Type of the fact. */
  readonly fact: string
  /** `acks`, `refusals`, `deliveries`, ...; `order`; `failed` where one threw. */
  readonly kinds: readonly string[]
  readonly production: readonly string[]
  readonly other: readonly string[]
}

export interface ComparisonReport {
  /** Entries compared, and users who have some. */
  readonly entries: number
  readonly users: number
  readonly differingEntries: number
  readonly differingUsers: number
  /** Users whom a fold failed on: what comes after that is not compared. */
  readonly failedUsers: number
  /** Differing entries by kind; one entry may differ in several. */
  readonly byKind: Readonly<Record<string, number>>
  /** Downlinks that one fold sends after a user's first difference and the other does not, of the first `sentMax`. */
  readonly deliveredOnlyByProduction: number
  readonly deliveredOnlyByOther: number
  /** The first difference of each user, up to a bound. Those after it may follow from it. */
  readonly differences: readonly Difference[]
}

interface User {
  readonly production: UserState
  readonly other: any
  judged: boolean
  differs: boolean
  failed: boolean
}

/** One of the two. */
interface Outcome { readonly answers?: readonly Answer[], readonly failure?: string }

/** How many downlinks of users whom the folds treat differently are remembered. */
export const sentMax = 100_000

/** Folds entries twice and keeps account of where the answers differ. Memory goes with the users of one partition. */
export class Comparison {
  #users = new Map<string, User>()
  #entries = 0
  #judgedUsers = 0
  #differingEntries = 0
  #differingUsers = 0
  #failedUsers = 0
  readonly #byKind = new Map<string, number>()
  readonly #sentBy = new Map<string, 'production' | 'other' | 'both'>()
  readonly #differences: Difference[] = []

  constructor (readonly production: Folding, readonly other: Folding, readonly listMax: number) {}

  take (placed: Placed, judged: boolean): void {
    const { entry } = placed
    const user = this.#userOf(entry.userId)
    if (user.failed) return
    const production = outcomeOf(this.production, user.production, entry)
    const other = outcomeOf(this.other, user.other, entry)
    if (judged) this.#judge(placed, user, production, other)
    if (production.failure !== undefined || other.failure !== undefined) {
      user.failed = true
      this.#failedUsers++
    }
  }

  /** No more entries of these users come. */
  endPartition (): void {
    this.#users = new Map()
  }

  report (): ComparisonReport {
    return {
      entries: this.#entries,
      users: this.#judgedUsers,
      differingEntries: this.#differingEntries,
      differingUsers: this.#differingUsers,
      failedUsers: this.#failedUsers,
      byKind: Object.fromEntries([...this.#byKind].sort(([, a], [, b]) => b - a)),
      deliveredOnlyByProduction: this.#sentOnlyBy('production'),
      deliveredOnlyByOther: this.#sentOnlyBy('other'),
      differences: this.#differences,
    }
  }

  #userOf (userId: string): User {
    let user = this.#users.get(userId)
    if (!user) {
      user = {
        production: this.production.newUser(),
        other: this.other.newUser(),
        judged: false,
        differs: false,
        failed: false,
      }
      this.#users.set(userId, user)
    }
    return user
  }

  #judge (placed: Placed, user: User, production: Outcome, other: Outcome): void {
    this.#entries++
    if (!user.judged) this.#judgedUsers++
    user.judged = true
    const kinds = differenceOf(production, other)
    if (user.differs || kinds.length > 0) {
      this.#noteDeliveries(placed.entry.userId, production.answers ?? [], other.answers ?? [])
    }
    if (kinds.length === 0) return
    this.#differingEntries++
    for (const kind of kinds) this.#byKind.set(kind, (this.#byKind.get(kind) ?? 0) + 1)
    const { position, entry: { userId, atMs, fact } } = placed
    if (user.differs) return
    user.differs = true
    this.#differingUsers++
    if (this.#differences.length >= this.listMax) return
    this.#differences.push({
      position: formatPosition(position),
      atMs,
      ...shownUser(userId),
      fact: fact.type,
      kinds,
      production: production.answers?.map(describeAnswer) ?? [production.failure!],
      other: other.answers?.map(describeAnswer) ?? [other.failure!],
    })
  }

  #noteDeliveries (userId: string, production: readonly Answer[], other: readonly Answer[]): void {
    const sent = { production: deliveriesIn(userId, production), other: deliveriesIn(userId, other) }
    for (const side of ['production', 'other'] as const) {
      for (const downlink of sent[side]) {
        const known = this.#sentBy.get(downlink)
        if (known === undefined && this.#sentBy.size >= sentMax) continue
        this.#sentBy.set(downlink, known === undefined || known === side ? side : 'both')
      }
    }
  }

  #sentOnlyBy (side: 'production' | 'other'): number {
    let count = 0
    for (const by of this.#sentBy.values()) if (by === side) count++
    return count
  }
}

function outcomeOf ({ fold }: Folding, state: any, entry: Placed['entry']): Outcome {
  try {
    return { answers: answersOf(fold(state, entry), state) }
  } catch (err) {
    return { failure: `failed: ${String((err as Error | undefined)?.message ?? err)}` }
  }
}

function differenceOf (production: Outcome, other: Outcome): string[] {
  if (production.answers && other.answers) return kindsOfDifference(production.answers, other.answers)
  return production.answers || other.answers ? ['failed'] : []
}

function deliveriesIn (userId: string, answers: readonly Answer[]): Set<string> {
  const sent = new Set<string>()
  for (const answer of answers) {
    if (answer.type === 'deliver') sent.add(`${userId}\0${(answer as Deliver).downlink.messageId}`)
  }
  return sent
}
