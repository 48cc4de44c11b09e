import type { EventLog } from '../../ledger/log.js'
import type { RoomEntry, RoomFellSilent } from '../../schemas/room-facts.js'
import { rooms } from '../../schemas/streams.js'
import type { RebuildableSnapshots, SavedHead } from '../snapshots.js'
import { maybeSilent } from './parts.js'
import type { AskSilence } from './silence.js'

export interface SilentRoomsDeps {
  readonly log: Pick<EventLog, 'append'>
  readonly saved: Pick<RebuildableSnapshots, 'heads'>
  readonly partition: number
  /** Since when nobody must have used a room; 0 for never. */
  readonly silenceMs: number
  ask (question: AskSilence): void
  /** The saved rooms can not be read, or the stream takes nothing: it is tried again; the reason in words. */
  failing (reason: string): void
}

/** From one walk to the next one; from the assignment to the first; to the next try where one has failed. */
export const walkEveryMs = 86_400_000
export const firstWalkMs = 60_000
const retryMs = 60_000

/** Rooms that are asked by one step: each loads its state, and lets go of up to some thousand parts. */
const askedMax = 8
/** An actor that has stopped does not answer. */
const answerMsMax = 60_000

/**
 * Walks once a day through the saved rooms of one partition, a page of heads or some rooms a second. Of each room that
 * nobody has used for long it says that it is silent: the fold then lets go of what the room keeps. Nothing of the walk
 * is saved: the next owner begins anew, and a fact that is told twice changes nothing the second time.
 */
export class SilentRooms {
  readonly #deps: SilentRoomsDeps
  /** Of the walk that is under way. */
  #pages: AsyncIterator<readonly SavedHead[]> | undefined
  /** Rooms of the last page that are still to be asked. */
  #rest: string[] = []
  #nextAtMs: number | undefined
  /** Since when a step has been under way; undefined for none. */
  #sinceMs: number | undefined
  /** Ends the waiting for each answer that is still to come. */
  readonly #asked = new Set<() => void>()

  constructor (deps: SilentRoomsDeps) { this.#deps = deps }

  /** Called once a second. */
  sweep (nowMs: number): void {
    const { silenceMs, failing } = this.#deps
    this.#nextAtMs ??= nowMs + firstWalkMs
    if (silenceMs === 0 || nowMs < this.#nextAtMs) return
    if (this.#sinceMs !== undefined) {
      if (nowMs - this.#sinceMs > answerMsMax) for (const giveUp of this.#asked) giveUp()
      return
    }
    this.#sinceMs = nowMs
    this.#step(nowMs, nowMs - silenceMs).catch(err => {
      failing(`silent rooms can not be looked for: ${(err as Error).message}`)
      this.#pages = undefined
      this.#rest = []
      this.#nextAtMs = nowMs + retryMs
    }).finally(() => { this.#sinceMs = undefined })
  }

  async #step (nowMs: number, beforeMs: number): Promise<void> {
    const { log, saved, partition } = this.#deps
    if (this.#rest.length === 0) {
      this.#pages ??= saved.heads(partition)[Symbol.asyncIterator]()
      const { value, done } = await this.#pages.next()
      if (done) {
        this.#pages = undefined
        this.#nextAtMs = nowMs + walkEveryMs
        return
      }
      this.#rest = value.flatMap(({ userId, head }) => maybeSilent(head, beforeMs) ? [userId] : [])
    }
    const entries: RoomEntry[] = []
    await Promise.all(this.#rest.splice(0, askedMax).map(async roomId => {
      const fact = await this.#ask(roomId, beforeMs)
      if (fact) entries.push({ roomId, atMs: nowMs, fact })
    }))
    if (entries.length > 0) await log.append(rooms, partition, entries, { reserved: true, lazy: true })
  }

  #ask (roomId: string, beforeMs: number): Promise<RoomFellSilent | undefined> {
    const { ask, partition } = this.#deps
    return new Promise(resolve => {
      const answer = (fact: RoomFellSilent | undefined) => {
        this.#asked.delete(giveUp)
        resolve(fact)
      }
      const giveUp = () => { answer(undefined) }
      this.#asked.add(giveUp)
      ask({ type: 'askSilence', partition, roomId, beforeMs, answer })
    })
  }
}
