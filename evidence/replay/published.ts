import { fold } from '../../actors/user/fold.js'
import { newUser, type UserState } from '../../actors/user/state.js'
import { type Block, formatPosition, type LogReader } from '../../ledger/log.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { ledger, uplinks } from '../../schemas/streams.js'
import { firstItem } from '../beginning.js'
import { PublishedMatch, type PublishedReport } from './published-match.js'
import { rangesFor, replayed, type ReplayOptions, type ReplayRange } from './range.js'

/**
 * Compares what the fold publishes of a range with what production wrote to stream `uplinks`. Memory goes with the
 * users of one partition.
 *
 * @param nowMs uplinks of the last moments may not be published yet
 */
export async function comparePublished (
  log: LogReader, ranges: readonly ReplayRange[], options: ReplayOptions = {}, nowMs = Date.now()
): Promise<PublishedReport> {
  const match = new PublishedMatch(options.listMax)
  for (const range of rangesFor(log, ranges, options.userId)) await comparePartition(log, range, options, match, nowMs)
  return match.report()
}

async function comparePartition (
  log: LogReader, range: ReplayRange, options: ReplayOptions, match: PublishedMatch, nowMs: number
): Promise<void> {
  const { partition, to } = range
  const published = new Published(log, partition, options.userId)
  await published.open()
  // In this order: whatever is published up to the one end has its entry before the other.
  const { first, next } = await log.bounds(ledger, partition)
  const wholeLedger = first === 0n
  const toTheEnd = to >= next
  match.beginPartition(wholeLedger, published.sinceMs)
  const states = new Map<string, UserState>()
  for await (const { judged, entries } of replayed(log, range, options)) {
    for (const { position, entry } of entries) {
      let state = states.get(entry.userId)
      if (!state) states.set(entry.userId, state = newUser())
      if (judged) match.entry(entry.userId)
      for (const effect of fold(state, entry)) {
        if (effect.type !== 'publishUplink') continue
        const { uplink } = effect
        match.expect({ position: formatPosition(position), atMs: entry.atMs, judged, uplink })
      }
    }
    while (match.waits && await published.next()) match.published(published.block)
  }
  if (toTheEnd) while (await published.next()) match.published(published.block)
  // Published since it was opened, for the last entries.
  await published.open(published.end)
  while (match.waits && await published.next()) match.published(published.block, false)
  match.endPartition({ toTheEnd, nowMs })
}

/** One partition of the stream, read block by block as they are asked for. */
class Published {
  /** Time of the first record that is kept; undefined where nothing was deleted before it. */
  sinceMs: number | undefined
  end = 0n
  block!: Block<UplinkAccepted>
  #blocks: AsyncIterator<Block<UplinkAccepted>> | undefined

  constructor (readonly log: LogReader, readonly partition: number, readonly userId: string | undefined) {}

  /** Up to the end as it is now. */
  async open (from?: bigint): Promise<void> {
    const { first, next } = await this.log.bounds(uplinks, this.partition)
    this.end = next
    const start = from ?? first
    if (from === undefined && first > 0n) {
      this.sinceMs = (await firstItem(this.log, uplinks, this.partition, { from: first, to: next }))?.receivedAtMs
    }
    const range = { from: start, to: next, key: this.userId }
    this.#blocks = this.log.read(uplinks, this.partition, range)[Symbol.asyncIterator]()
  }

  /** @returns false at the end */
  async next (): Promise<boolean> {
    const { done, value } = await this.#blocks!.next()
    if (done) return false
    this.block = this.userId === undefined ? value : { ...value, items: value.items.filter(this.#isOurs) }
    return true
  }

  readonly #isOurs = ({ userId }: UplinkAccepted): boolean => userId === this.userId
}
