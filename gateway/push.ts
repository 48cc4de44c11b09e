import { randomUUID } from 'node:crypto'
import type { Links, LocalEnds, NotHere, SharedSignal } from '../actors/links.js'
import { isFor } from '../actors/user/fold.js'
import { entriesOf } from '../evidence/entries.js'
import { findNumbered, type Numbered } from '../evidence/redelivery.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { openRoutes, routesOf, routingKey, type Route } from '../projections/routing.js'
import type { Tables } from '../projections/tables/tables.js'
import { GatewayError } from '../schemas/errors.js'
import type { Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { DownlinkCommand } from '../schemas/records.js'
import { ledger } from '../schemas/streams.js'
import type { KickAnswer, KickCommand } from './http/connections.js'
import type { PushAnswer, PushedUser } from './http/downlinks.js'
import type { Redelivered, RedeliveryAnswer, RedeliveryCommand } from './http/redeliveries.js'
import { KnownRequests } from './known-requests.js'

export interface PushDeps {
  readonly log: EventLog
  readonly tables: Tables
  readonly links: Links & Pick<LocalEnds, 'notHere' | 'requestKnown'>
  readonly nodeId: string
}

/** A signal on its way to other nodes. */
interface Sent {
  readonly command: DownlinkCommand
  /** Whose each connection is that it was sent to. */
  readonly users: Map<string, string>
}

/** Payload bytes after which the entries of one redelivery go on in another append: Kafka bounds a record at 1 MiB. */
const appendBytesMax = 256 << 10

/** A connection that is not where the table says is being resumed elsewhere: the table knows that a little later. */
const lookAgainMs = 500

/** The `push` role: turns what business services ask for into facts, or hands signals straight to the edges. */
export class Push {
  readonly #deps: PushDeps
  readonly #partitions: number
  readonly #sent = new WeakMap<SharedSignal, Sent>()
  readonly #known: KnownRequests

  constructor (deps: PushDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(ledger)
    this.#known = new KnownRequests(deps)
    deps.links.notHere = answer => { this.#lookAgain(answer) }
  }

  /**
   * @param tellsRepeats users who have had a request of this id are told from the others: `duplicate`, or `conflict`
   *   where it was for something else. It costs the way to their actors and back
   * @throws GatewayError `ledger-unavailable` where not one request was stored
   */
  async push (command: DownlinkCommand, tellsRepeats = false): Promise<PushAnswer> {
    const { messageId } = command
    if (command.delivery === 'signal') return { messageId, users: await this.#signal(command) }
    if (!tellsRepeats) return { messageId, users: await this.#request(command) }
    const known = await this.#known.of(command)
    const userIds = command.userIds.filter((_, i) => known[i] === 'first')
    const requested = userIds.length === 0 ? [] : await this.#request({ ...command, userIds })
    let next = 0
    const users = command.userIds.map((userId, i): PushedUser => {
      const status = known[i]!
      return status === 'first' ? requested[next++]! : { userId, status }
    })
    return { messageId, users }
  }

  /** Records that connections are to be closed for good. The user actors close those that are still open then. */
  async kick ({ userId, connectionId, reason }: KickCommand): Promise<KickAnswer> {
    const found = userId === '' ? await this.#find(connectionId) : await this.#routes(userId)
    const connections = connectionId === '' ? found : found.filter(route => route.connectionId === connectionId)
    const users = new Set(connections.map(({ userId }) => userId))
    await Promise.all([...users].map(userId => {
      const entry: Entry = {
        userId,
        atMs: Date.now(),
        fact: { type: 'KickRequested', requestId: randomUUID(), connectionId, reason: reason || 'kicked by an operator' },
      }
      return this.#deps.log.append(ledger, partitionOf(userId, this.#partitions), [entry])
    }))
    return { connections: connections.map(({ userId, connectionId }) => ({ userId, connectionId })) }
  }

  /**
   * Sends what a device's session had under some numbers once more. What the ledger has of this very request already
   * is left out, so that a request that failed halfway can be repeated.
   *
   * @throws GatewayError `not-found` where the device has no session, or its numbers are no longer known; `bad-request`
   *   where the id was another device's request; `ledger-unavailable` where not all of it could be stored
   */
  async redeliver (command: RedeliveryCommand): Promise<RedeliveryAnswer> {
    const { userId, fromSeq, toSeq, requestId } = command
    const { log } = this.#deps
    const partition = partitionOf(userId, this.#partitions)
    const complete = (await log.bounds(ledger, partition)).first === 0n
    const found = await findNumbered(entriesOf(log, userId), command, complete)
    const positions = new Map(found.requested)
    const wanted = found.numbered.filter(({ messageId }) => !positions.has(messageId))
    for (const batch of batchesOf(wanted)) {
      const entries = batch.map(downlink => redelivery(downlink, command))
      const { offset, index } = await log.append(ledger, partition, entries)
      for (const [i, { messageId }] of batch.entries()) {
        positions.set(messageId, formatPosition({ partition, offset, index: index + i }))
      }
    }
    const redelivered: Redelivered[] = found.numbered.map(({ seq, messageId }) =>
      ({ messageId, seq, position: positions.get(messageId)! }))
    const seqs = new Set(redelivered.map(({ seq }) => seq))
    const asked = Array.from({ length: toSeq - fromSeq + 1 }, (_, i) => fromSeq + i)
    return { requestId, redelivered, notFound: asked.filter(seq => !seqs.has(seq)) }
  }

  /** One entry a user; those of one partition are one append. */
  async #request (command: DownlinkCommand): Promise<PushedUser[]> {
    const { messageId, service, payload, ttlMs, platforms, exceptDevices, devices, userIds } = command
    const fact: Entry['fact'] = {
      type: 'DownlinkRequested', messageId, service, payload, ttlMs, platforms, exceptDevices, devices,
    }
    const atMs = Date.now()
    const batches = new Map<number, { places: number[], entries: Entry[] }>()
    for (let i = 0; i < userIds.length; i++) {
      const userId = userIds[i]!
      const partition = partitionOf(userId, this.#partitions)
      let batch = batches.get(partition)
      if (!batch) batches.set(partition, batch = { places: [], entries: [] })
      batch.places.push(i)
      batch.entries.push({ userId, atMs, fact })
    }
    const users = new Array<PushedUser>(userIds.length)
    let failure: unknown
    await Promise.all(Array.from(batches, async ([partition, { places, entries }]) => {
      try {
        const { offset, index } = await this.#deps.log.append(ledger, partition, entries)
        for (let i = 0; i < places.length; i++) {
          const position = formatPosition({ partition, offset, index: index + i })
          users[places[i]!] = { userId: userIds[places[i]!]!, status: 'queued', position }
        }
      } catch (err) {
        failure = err
        const code = err instanceof GatewayError ? err.code : 'internal'
        for (const place of places) users[place] = { userId: userIds[place]!, status: 'rejected', code }
      }
    }))
    if (failure && users.every(({ status }) => status === 'rejected')) throw failure
    return users
  }

  /** To every open connection that the routing table knows; nothing is stored. */
  async #signal (command: DownlinkCommand): Promise<PushedUser[]> {
    const { service, payload, userIds } = command
    const signal: SharedSignal = { service, payload, encoded: new Map() }
    this.#sent.set(signal, { command, users: new Map() })
    return await Promise.all(userIds.map(async userId =>
      ({ userId, status: await this.#signalTo(userId, signal) ? 'sent' as const : 'offline' as const })))
  }

  /** @returns whether it was sent to a connection that it had not been sent to before */
  async #signalTo (userId: string, signal: SharedSignal): Promise<boolean> {
    const { command, users } = this.#sent.get(signal)!
    let sent = false
    for (const [connectionId, { nodeId, platform, deviceId }] of await this.#row(userId)) {
      if (users.has(connectionId)) continue
      if (!isFor(command, { platform, deviceId })) continue
      users.set(connectionId, userId)
      this.#deps.links.toConnection({ type: 'signal', nodeId, connectionId, signal })
      sent = true
    }
    return sent
  }

  /** The route was stale. The connection that has taken its place gets the signal, if the table knows it soon. */
  #lookAgain ({ connectionId, signal }: NotHere): void {
    const userId = this.#sent.get(signal)?.users.get(connectionId)
    if (userId === undefined) return
    setTimeout(() => { this.#signalTo(userId, signal).catch(() => { /* at most once */ }) }, lookAgainMs)
  }

  async #routes (userId: string): Promise<Array<Route & { userId: string, connectionId: string }>> {
    return routesOf(await this.#row(userId)).map(route => ({ userId, ...route }))
  }

  /** Connection id to route. */
  #row (userId: string): Promise<ReadonlyMap<string, Route>> {
    return this.#deps.tables.get('routing', partitionOf(userId, this.#partitions), routingKey(userId))
  }

  /** Whoever knows a connection and not its user pays with a walk over the table. */
  async #find (connectionId: string): Promise<Array<{ userId: string, connectionId: string }>> {
    for await (const route of openRoutes(this.#deps.tables.scan('routing'))) {
      if (route.connectionId === connectionId) return [route]
    }
    return []
  }
}

/** Each message once, under the first of its numbers; in appends of their own where they are large together. */
function batchesOf (downlinks: readonly Numbered[]): Numbered[][] {
  const batches: Numbered[][] = []
  const messageIds = new Set<string>()
  let bytes = Infinity
  for (const downlink of downlinks) {
    if (messageIds.has(downlink.messageId)) continue
    messageIds.add(downlink.messageId)
    bytes += downlink.payload.byteLength
    if (bytes > appendBytesMax) {
      batches.push([])
      bytes = downlink.payload.byteLength
    }
    batches.at(-1)!.push(downlink)
  }
  return batches
}

function redelivery (
  { seq, messageId, service, payload }: Numbered, { userId, deviceId, requestId, ttlMs }: RedeliveryCommand
): Entry {
  const fact: Entry['fact'] = { type: 'DownlinkRedelivered', requestId, deviceId, seq, messageId, service, payload, ttlMs }
  return { userId, atMs: Date.now(), fact }
}
