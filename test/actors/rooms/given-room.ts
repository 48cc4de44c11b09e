import fc from 'fast-check'
import { foldRoom, type RoomEffect } from '../../../actors/rooms/fold.js'
import { roomStates } from '../../../actors/rooms/parts.js'
import type { RoomState } from '../../../actors/rooms/state.js'
import { tailBytesMax } from '../../../actors/rooms/tail.js'
import type { StateChanges } from '../../../actors/snapshots.js'
import type { RoomEntry, RoomFact } from '../../../schemas/room-facts.js'

export const roomId = 'chat:7'

export function at (atMs: number, fact: RoomFact): RoomEntry { return { roomId, atMs, fact } }

/** By a business service. */
export function posted (messageId: string, text = messageId): RoomFact {
  return {
    type: 'PostRequested',
    messageId,
    from: '',
    service: '',
    payload: Buffer.from(text),
    ledgerPartition: -1,
    ledgerOffset: -1,
    ledgerIndex: -1,
    by: '',
  }
}

/** By an uplink, whose entry stands there in the ledger. */
export function said (
  from: string, userSeq: number, [partition, offset, index]: readonly [number, number, number]
): RoomFact {
  return {
    type: 'PostRequested',
    messageId: `${from}/${userSeq}`,
    from,
    service: '',
    payload: Buffer.from(`${from} ${userSeq}`),
    ledgerPartition: partition,
    ledgerOffset: offset,
    ledgerIndex: index,
    by: '',
  }
}

export function joined (nodeId: string, interest: number, nodeEpoch = 1): RoomFact {
  return { type: 'NodeJoined', nodeId, nodeEpoch, interest }
}

export function left (nodeId: string, interest: number, nodeEpoch = 1): RoomFact {
  return { type: 'NodeLeft', nodeId, nodeEpoch, interest, code: 'left' }
}

export function roomClosed (reason = 'over'): RoomFact { return { type: 'RoomClosed', requestId: 'r1', reason, by: '' } }

export function silent (roomSeq: number): RoomFact { return { type: 'RoomFellSilent', roomSeq, sinceMs: 0 } }

/** Folds these facts, one a second, and says what comes of each. */
export function play (state: RoomState, ...facts: RoomFact[]): string[] {
  return facts.flatMap((fact, i) => foldRoom(state, at(i * 1_000, fact)).map(shortly))
}

export function shortly (effect: RoomEffect): string {
  if (effect.type === 'post') return `post ${effect.post.roomSeq} ${effect.post.messageId}`
  return `${effect.type} ${effect.nodeId} ${effect.interest}`
}

export function roomOf (...facts: RoomFact[]): RoomState {
  const state = roomStates.fresh()
  play(state, ...facts)
  return state
}

/** The parts of one room as a store has them. */
export class SavedRoom {
  head: Buffer | undefined
  readonly parts = new Map<string, Buffer>()

  save ({ head, added, changed, gone }: StateChanges): void {
    this.head = head
    for (const [id, bytes] of [...added, ...changed]) this.parts.set(id, Buffer.from(bytes))
    for (const id of gone) this.parts.delete(id)
  }

  /** As an owner loads it. */
  loaded (): RoomState {
    if (!this.head) return roomStates.fresh()
    const wanted = roomStates.partsOf(this.head)
    const parts = new Map(wanted.flatMap(id => this.parts.has(id) ? [[id, this.parts.get(id)!] as const] : []))
    return roomStates.loaded({ head: this.head, parts, others: [...this.parts.keys()].filter(id => !parts.has(id)) })
  }

  /** Those that no head names. */
  get strays (): string[] {
    const named = new Set(this.head ? roomStates.partsOf(this.head) : [])
    return [...this.parts.keys()].filter(id => !named.has(id))
  }
}

/** What one partition of the ledger says, in its order; each entry of it once. */
const anyUplinks = (partition: number, from: string): fc.Arbitrary<RoomFact[]> =>
  fc.array(fc.record({ gap: fc.integer({ min: 0, max: 2 }), index: fc.nat(2) }), { maxLength: 12 }).map(steps => {
    let [offset, last] = [0, -1]
    return steps.map(({ gap, index }, i) => {
      if (gap === 0) last += 1 + index
      else [offset, last] = [offset + gap, index]
      return said(from, i + 1, [partition, offset, last])
    })
  })

/** Two of them are all that the tail has room for. */
const large = ['l1', 'l2', 'l3', 'l4', 'l5'].map(messageId => posted(messageId, messageId.repeat(tailBytesMax / 6)))

/** Facts of one room: two partitions of the ledger, business services, and two nodes that come and go. */
export const anyFacts: fc.Arbitrary<RoomFact[]> = fc.tuple(
  anyUplinks(0, 'ann'),
  anyUplinks(1, 'bob'),
  fc.array(fc.constantFrom(
    ...['m1', 'm2', 'm3', 'm4'].map(messageId => posted(messageId)), posted('m1', 'something else'), ...large,
    ...['n1', 'n2'].flatMap(nodeId => [1, 2, 3].flatMap(interest => [joined(nodeId, interest), left(nodeId, interest)])),
    joined('n1', 1, 2), left('n1', 1, 2)
  ), { maxLength: 20 }),
  fc.infiniteStream(fc.nat(2))
).map(([ann, bob, others, turns]) => {
  const queues = [[...ann], [...bob], [...others]]
  const facts: RoomFact[] = []
  for (const turn of turns) {
    const queue = queues[turn]!.length > 0 ? queues[turn]! : queues.find(({ length }) => length > 0)
    if (!queue) return facts
    facts.push(queue.shift()!)
  }
  return facts
})

/** As `anyFacts`, of a room that falls silent now and then: the fact names its last post, or comes too late. */
export const anyFactsWithSilence: fc.Arbitrary<RoomFact[]> =
  fc.tuple(anyFacts, fc.array(fc.tuple(fc.nat(), fc.nat(3)), { maxLength: 4 })).map(([facts, silences]) => {
    const all = [...facts]
    for (const [place, late] of silences) {
      const at = place % (all.length + 1)
      const { tail } = roomOf(...all.slice(0, at))
      all.splice(at, 0, silent(Math.max(0, tail.roomSeq - Math.max(0, late - 2))))
    }
    return all
  })
