import type { Entry } from '../../schemas/facts.js'
import { type ActorDeps, type ActorMessage, foldingActor } from '../folding-actor.js'
import type { KindTypes, Reading, Surroundings, Turn } from '../kind.js'
import type { Links, Question, Resync } from '../links.js'
import { Unusable } from '../recovery.js'
import type { PartId } from '../snapshots.js'
import { type Refill, resync, send, tellBans, tellKnown, tellRecalled, tellRooms } from './answers.js'
import type { DerivedRecord } from './derived.js'
import { type AskDue, dueFactOf } from './due.js'
import type { DownlinkOutcome, Effect, Post } from './effects.js'
import { fold } from './fold.js'
import { Sink } from './sink.js'
import type { UserState } from './state.js'
import { userStates } from './states.js'
import { type AskUnwritten, stillUnwritten, type Unwritten } from './unwritten.js'

export interface UserTypes extends KindTypes {
  entry: Entry
  state: UserState
  effect: Effect
  question: Question | AskDue | AskUnwritten
  derived: DerivedRecord
  handOn: Post
}

/** What a user actor reaches. */
export interface UserDeps {
  readonly links: Links
  /** Counts how downlinks end. */
  settled (outcome: DownlinkOutcome): void
  /**
   * A connection is to write this downlink.
   *
   * @param isUntold it is not told so: it was requested too long ago
   */
  delivers (downlink: Unwritten, isUntold: boolean): void
  /** Payload bytes of downlinks that follow a welcome unasked. */
  readonly resumeBytesMax: number
}

export type UserActorDeps = ActorDeps<UserTypes> & UserDeps

export type UserMessage = ActorMessage<UserTypes>

/** The shell around one user's fold. */
export function userActor (userId: string, deps: UserActorDeps) {
  return foldingActor({ one: 'user', fold, states: userStates }, userId, deps, dealingsOf(deps))
}

/** How user actors deal with edges and with whoever asks. */
export function dealingsOf (
  deps: UserDeps
): Pick<Surroundings<UserTypes>, 'sink' | 'answer' | 'refuse' | 'refuseEntries'> {
  const { links } = deps

  function refuse (nodeId: string, connectionId: string, reason = 'the state of this user can not be used'): void {
    links.toConnection({ type: 'closeConnection', nodeId, connectionId, code: 'internal', reason, by: '' })
  }

  function answerResync (question: Resync, state: UserState, reading: Reading<UserTypes>): void | Promise<void> {
    const refill = resync(state, question, links)
    if (refill) return sendAll(refill, state, reading)
  }

  function tellAgain (question: AskUnwritten, state: UserState, reading: Reading<UserTypes>): void | Promise<void> {
    const refill = stillUnwritten(state, question)
    if (!refill) question.over()
    else return sendAll(refill, state, reading)
  }

  /** Payloads that are not at hand are read first. */
  function sendAll (refill: Refill, state: UserState, reading: Reading<UserTypes>): void | Promise<void> {
    if (refill.unread.length > 0) return readAndSend(state, refill, reading)
    send(refill, links)
  }

  /**
   * The state is whole without the payloads, so it goes on where they can't be read: only the connection that was to
   * have them ends, and with it the session's place does not move past them.
   */
  async function readAndSend (
    state: UserState, refill: Refill, { recovery, unreadable }: Reading<UserTypes>
  ): Promise<void> {
    let payloads: ReadonlyMap<PartId, Buffer> | undefined
    try {
      payloads = await recovery.patiently(() => recovery.leftOut(state, refill.unread))
    } catch (err) {
      if (!(err instanceof Unusable)) throw err
      unreadable(err)
      refuse(refill.nodeId, refill.connectionId, 'a downlink that waits can not be read')
      return
    }
    if (payloads) send(refill, links, payloads) // else it asks again
  }

  return {
    sink: (turn: Turn<UserTypes>) => new Sink(turn, deps, refill => readAndSend(turn.state, refill, turn)),
    answer (question, state, reading) {
      switch (question.type) {
        case 'resync': return answerResync(question, state, reading)
        case 'askRequest': tellKnown(state, question, links); return
        case 'askBans': tellBans(state, question, links); return
        case 'askMemberships': tellRooms(state, question, links); return
        case 'askRecalled': tellRecalled(state, question, links); return
        case 'askDue': question.answer(dueFactOf(state, question.entry)); return
        case 'askUnwritten': return tellAgain(question, state, reading)
      }
    },
    refuseEntries (entries) {
      for (const { fact } of entries) if (fact.type === 'ConnectionOpened') refuse(fact.nodeId, fact.connectionId)
    },
    refuse (question) {
      // Who asks for a node does not wait for ever.
      if (question.type === 'resync') refuse(question.nodeId, question.connectionId)
      else if (question.type === 'askDue') question.answer(undefined)
    },
  }
}
