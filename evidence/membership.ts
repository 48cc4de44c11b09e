import type { Effect } from '../actors/user/effects.js'
import type { Membership } from '../actors/user/memberships.js'
import type { UserState } from '../actors/user/state.js'
import type { Entry } from '../schemas/facts.js'
import { operatorInWords } from './lines.js'
import type { Surroundings } from './surroundings.js'
import { type AddStep, notKept, type Subject, timeOf, type Verdict } from './trace.js'

/** Since when business has had the user in one room, and who wanted that. */
export class MembershipSubject implements Subject {
  #is: Membership | undefined
  #ended: { readonly atMs: number, readonly text: string } | undefined

  constructor (readonly roomId: string) {}

  after ({ atMs, fact }: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void {
    const now = state.memberships.get(this.roomId)
    const before = this.#is
    this.#is = now
    const isMine = (fact.type === 'RoomGranted' || fact.type === 'RoomRevoked') && fact.roomId === this.roomId
    if (!isMine) {
      if (before && !now) this.#forgotten(atMs, step)
      return
    }
    const told = effects.filter(({ type }) => type === 'tellMemberships').length
    const whom = told === 0 ? '' : `; ${told} open connection${told === 1 ? ' is' : 's are'} told`
    const asked = `as ${operatorInWords(fact.by)} wanted by request ${fact.requestId}`
    if (fact.type === 'RoomGranted') {
      const { rights, requestId } = fact
      if (now === before) step('duplicate', `${rights} asked for again by request ${requestId}: nothing changes`)
      else step('granted', `was given ${rights}, ${asked}${whom}`)
    } else if (!before) {
      step('duplicate', `asked to be out of it by request ${fact.requestId}: he was not in it`)
    } else if (now) {
      step('duplicate', `request ${fact.requestId} was had before: nothing changes`)
    } else {
      this.#ended = { atMs, text: `${asked}${fact.reason === '' ? '' : `: ${fact.reason}`}` }
      step('revoked', `was put out of it, ${this.#ended.text}${whom}`)
    }
  }

  async verdict ({ keptSince }: Surroundings): Promise<Verdict> {
    if (this.#is) {
      const { grantedAtMs, rights } = this.#is
      const what = rights.includes('r') ? 'joins it at its connect' : 'may post in it, and may not read'
      const text = `Business has had the user in ${this.roomId} with ${rights} since ${timeOf(grantedAtMs)}: each of ` +
        `his devices ${what}.`
      return { code: 'member', cause: '', text }
    }
    if (this.#ended) {
      const { atMs, text } = this.#ended
      return {
        code: 'put-out',
        cause: '',
        text: `Put out of ${this.roomId} at ${timeOf(atMs)}, ${text}. A token with the right may still be in it.`,
      }
    }
    if (keptSince) return notKept(`No membership of ${this.roomId} stands for this user`, keptSince)
    return {
      code: 'never-granted',
      cause: '',
      text: `Business has never had the user in ${this.roomId}: what he may do there his tokens say (claim rooms).`,
    }
  }

  /** A user has so many rooms at most; the one granted first goes. */
  #forgotten (atMs: number, step: AddStep): void {
    this.#ended = { atMs, text: 'as the one of his rooms that was granted first, when he was in too many' }
    step('forgotten', 'was given another room, and may be in no more: this one, granted first, is forgotten')
  }
}
