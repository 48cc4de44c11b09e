import { contentOf } from '../../actors/digest.js'
import { nameOf } from '../../actors/requests.js'
import { foldRoom, type RoomEffect } from '../../actors/rooms/fold.js'
import { newRoom, type RoomState } from '../../actors/rooms/state.js'
import { formatPosition, type LogReader } from '../../ledger/log.js'
import { appOf, userKey } from '../../schemas/apps.js'
import { GatewayError } from '../../schemas/errors.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { Posted } from '../../schemas/records.js'
import type { PostRequested, RoomClosed, RoomEntry } from '../../schemas/room-facts.js'
import { posts, rooms } from '../../schemas/streams.js'
import { beginningOf } from '../beginning.js'
import { roomEntriesOf } from '../entries.js'
import { operatorInWords } from '../lines.js'
import { isBefore, isBehind } from '../moment.js'
import { clocksDifferMs } from '../surroundings.js'
import { type AddStep, addStep, EntryFailed, type Placed, type Step, type TraceRange, type Verdict } from '../trace.js'
import { anew } from '../whole.js'
import { originOf } from './origin.js'
import { shownRoom } from './state.js'
import { type Stay, Stays } from './stays.js'
import { type PostFate, verdictOfPost } from './verdict.js'

export interface RoomTrace {
  /** Absent for the default one. */
  readonly app?: string
  readonly roomId: string
  readonly steps: readonly Step[]
  readonly verdict: Verdict
}

/**
 * What became of one post of a room, by its message id: who asked for it, its number, the nodes that had members then,
 * and what each says that it gave them.
 *
 * @throws GatewayError `bad-request` for a range with a position of another partition than the room's
 */
export async function tracePost (
  log: LogReader, roomId: string, messageId: string, range: TraceRange = {}, nowMs = Date.now()
): Promise<RoomTrace> {
  const own = partitionOf(roomId, log.partitions(rooms))
  for (const [name, moment] of Object.entries(range)) {
    if (moment?.type !== 'position' || moment.position.partition === own) continue
    throw new GatewayError('bad-request',
      `${name}: got a position of partition ${moment.position.partition}, want one of ${own}, where the entries of ` +
      'the room are')
  }
  return await anew(() => traceWhole(log, roomId, messageId, range, nowMs))
}

/** Entries that the fold fails at were set aside in production, too: it went on without them. */
async function traceWhole (
  log: LogReader, roomId: string, messageId: string, range: TraceRange, nowMs: number
): Promise<RoomTrace> {
  const { until } = range
  const setAside = new Set<string>()
  for (;;) {
    try {
      const begins = await beginningOf(log, partitionOf(roomId, log.partitions(rooms)), rooms)
      const trace = new PostTrace(log, messageId, range, setAside, begins !== null)
      for await (const placed of roomEntriesOf(log, roomId)) {
        if (until && isBehind(until, placed)) break
        await trace.take(placed)
      }
      const untilMs = until?.type === 'time' ? Math.min(until.atMs, nowMs) : nowMs
      const verdict = await verdictOfPost(log, roomId, messageId, trace.fate, untilMs, begins)
      return { ...shownRoom(roomId), steps: trace.steps, verdict }
    } catch (err) {
      if (!(err instanceof EntryFailed)) throw err
      setAside.add(err.position)
    }
  }
}

class PostTrace {
  readonly steps: Step[] = []
  readonly fate: PostFate = {
    isRoomKnown: false, repeats: 0, refused: undefined, closed: undefined, numbered: undefined,
  }

  readonly #log: LogReader
  readonly #messageId: string
  readonly #range: TraceRange
  readonly #setAside: ReadonlySet<string>
  readonly #isCut: boolean
  readonly #state: RoomState = newRoom()
  readonly #stays = new Stays()

  /** @param isCut retention has deleted the beginning of the stream: the fold counts fewer posts than there were */
  constructor (
    log: LogReader, messageId: string, range: TraceRange, setAside: ReadonlySet<string>, isCut: boolean
  ) {
    this.#log = log
    this.#messageId = messageId
    this.#range = range
    this.#setAside = setAside
    this.#isCut = isCut
  }

  async take (placed: Placed<RoomEntry>): Promise<void> {
    const { position, entry } = placed
    const { since } = this.#range
    const isShown = !since || !isBefore(since, placed)
    const where = `rooms ${formatPosition(position)}`
    const step: AddStep = (event, text, details) => {
      if (isShown) addStep(this.steps, where, entry.atMs, event, text, details)
    }
    this.fate.isRoomKnown = true
    const { fact } = entry
    const isMine = fact.type === 'PostRequested' && fact.messageId === this.#messageId
    if (this.#setAside.has(where)) {
      if (isMine) step('set-aside', 'it made the fold fail and was set aside: as if it had not been')
      return
    }
    const known = isMine && fact.ledgerPartition < 0
      ? this.#state.requests.look(nameOf.post(fact.messageId), contentOf(fact.service, fact.payload))
      : 'first'
    const effects = foldAt(where, this.#state, entry)
    const stay = this.#stays.after(entry, this.#state)
    if (isMine) await this.#requested(entry, fact, known, effects, isShown, step)
    if (fact.type === 'RoomClosed') this.#closed(fact, entry, step)
    if (stay) this.#told(stay, entry, step)
  }

  async #requested (
    { roomId, atMs }: RoomEntry, fact: PostRequested, known: string, effects: readonly RoomEffect[], isShown: boolean,
    step: AddStep
  ): Promise<void> {
    const { fate } = this
    if (fate.numbered || fate.refused) {
      fate.repeats++
      step('duplicate', known === 'conflict'
        ? 'requested again with the same id, for another payload or service: the first one stands, and this one is not posted'
        : 'requested again with the same id: the first one stands')
      return
    }
    if (isShown && fact.ledgerPartition >= 0) await this.#uplink(roomId, fact)
    const what = fact.service === '' ? '' : ` [${fact.service}]`
    step('requested', fact.ledgerPartition >= 0
      ? `posted by ${fact.from}${what}`
      : `posted by business${what}${fact.by === '' ? '' : ` with the key ${fact.by}`}`)
    const effect = effects[0]
    if (effect?.type !== 'post') {
      fate.refused = { atMs, code: this.#state.closed ? 'room-closed' : 'repeated' }
      step('refused', this.#state.closed
        ? 'refused with room-closed: the room takes no posts any more'
        : 'taken for the repeat of an uplink before it in the ledger, and not posted')
      return
    }
    const record = await this.#published(effect.post, atMs)
    const roomSeq = record?.roomSeq ?? effect.post.roomSeq
    // Those that had no members when they were told last are among them: members may have come since.
    const nodes = this.#stays.open
    fate.numbered = { atMs, roomSeq, nodes, published: record?.where }
    step('numbered', `is post ${roomSeq} of the room; ${nodesInWords(nodes, this.#isCut)}`)
    if (record && isShown) addStep(this.steps, record.where, atMs, 'published', 'is in the stream posts')
  }

  /** Where the uplink came from, which the ledger tells. */
  async #uplink (roomId: string, fact: PostRequested): Promise<void> {
    const origin = await originOf(this.#log, userKey(appOf(roomId), fact.from), fact)
    if (!origin) return
    const { position, atMs, uplink: { seq, connectionId }, opened } = origin
    const from = opened
      ? `${opened.deviceId} of ${fact.from}, uplink ${seq} of session ${opened.sessionId}`
      : `${fact.from}, uplink ${seq}`
    addStep(this.steps, `ledger ${position}`, atMs, 'received', `reached the edge from ${from}`, {
      connectionId, nodeId: opened?.nodeId ?? '',
    })
  }

  #closed ({ reason, by }: RoomClosed, { atMs }: RoomEntry, step: AddStep): void {
    if (this.fate.closed) return
    this.fate.closed = { atMs, reason, by }
    step('closed', `the room was closed, as ${operatorInWords(by)} wanted${reason === '' ? '' : `: ${reason}`}`)
  }

  /** A node that had members when it was numbered tells of it, or of its own end. */
  #told (stay: Stay, { fact }: RoomEntry, step: AddStep): void {
    const { numbered } = this.fate
    if (!numbered || !numbered.nodes.includes(stay) || numbered.given?.has(stay)) return
    const { nodeId, delivered, end } = stay
    const way = { nodeId, stage: 'numbered-delivered', sinceMs: numbered.atMs }
    if (fact.type === 'PostsDelivered' && delivered && delivered.roomSeq >= numbered.roomSeq) {
      (numbered.given ??= new Map()).set(stay, delivered)
      const { members, behind } = delivered
      step('delivered', `${nodeId} says that it has given its ${members} members all up to ${delivered.roomSeq}` +
        (behind === 0 ? '' : `, but ${behind} that read too slowly`), way)
    }
    if (fact.type !== 'NodeLeft' || !end) return
    step(end.code === 'left' ? 'node-left' : 'node-lost', end.code === 'left'
      ? `${nodeId} has no members any more`
      : `${nodeId} was lost, before it said whether it gave it to its members`, { nodeId })
  }

  /** The record of a post, whose number is the one that it was given. */
  async #published (
    { roomId, roomSeq, messageId }: Posted, atMs: number
  ): Promise<{ readonly roomSeq: number, readonly where: string } | undefined> {
    const log = this.#log
    const of = partitionOf(roomId, log.partitions(posts))
    const from = await log.offsetAt(posts, of, atMs - clocksDifferMs)
    for await (const { offset, items } of log.read(posts, of, { from, key: roomId })) {
      const index = items.findIndex(post =>
        post.roomId === roomId && (this.#isCut ? post.messageId === messageId : post.roomSeq === roomSeq))
      if (index < 0) continue
      const where = `posts ${formatPosition({ partition: of, offset, index })}`
      return { roomSeq: items[index]!.roomSeq, where }
    }
    return undefined
  }
}

function nodesInWords (nodes: readonly Stay[], isCut: boolean): string {
  if (nodes.length === 0) return isCut ? 'which nodes had members is not known' : 'no node has members'
  return `${nodes.map(({ nodeId }) => nodeId).join(', ')} ${nodes.length === 1 ? 'has' : 'have'} members`
}

function foldAt (position: string, state: RoomState, entry: RoomEntry): RoomEffect[] {
  try {
    return foldRoom(state, entry)
  } catch (cause) {
    throw new EntryFailed(position, cause)
  }
}
