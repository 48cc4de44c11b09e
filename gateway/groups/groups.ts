import { randomUUID } from 'node:crypto'
import type { AskAck } from '../../actors/group-links.js'
import type { Links, LocalEnds } from '../../actors/links.js'
import type { EventLog, GroupPlaces, Place } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import type { LineFormat } from '../http/line-formats.js'
import { Questions } from '../questions.js'
import { type PublicStream, publicStreams, type Wanted } from '../streams/public.js'
import { type AckCursor, parseAckCursor } from './ack-cursor.js'
import { ReadGroup } from './group.js'
import { GroupReader } from './reader.js'

export interface GroupsOptions {
  readonly log: EventLog
  /** Undefined where the log can't tell. */
  readonly places: GroupPlaces | undefined
  readonly nodeId: string
  readonly links: Pick<Links, 'toReaders' | 'toAsker'> & Pick<LocalEnds, 'acks' | 'ackKnown'>
  failed (what: string, error: Error, fields: object): void
}

export interface Joining {
  /** Whose it is; empty for the default app. */
  readonly app: string
  readonly group: string
  readonly of: PublicStream
  readonly wanted: Wanted
  readonly begins: 'first' | 'now'
  readonly ackWithinMs: number
  readonly format: LineFormat
  /** Aborts when the reader has gone. */
  readonly signal: AbortSignal
}

/** What became of one cursor. */
export interface Acked {
  readonly cursor: string
  readonly status: 'acked' | 'rejected'
  /**
   * Why it was rejected: `not-leased`, also where the node that gave it out is gone or does not answer;
   * `bad-request` for what is no cursor of a group; `ledger-unavailable` or `internal` where it is not known to be
   * kept.
   */
  readonly code?: string
}

export interface GroupName { readonly app: string, readonly group: string }

export interface ReaderShown {
  readonly readerId: string
  readonly stream: string
  readonly sinceMs: number
  readonly partitions: readonly number[]
  readonly unackedBytes: number
}

/** A node with readers of a group. */
export interface ReadingNode {
  /** `KAFKA_CLIENT_ID` of nodes that have that. */
  readonly nodeId: string
  readonly stream: string
  readonly partitions: readonly number[]
}

/**
 * Groups of one stream each that have readers on a node at the same time; past it readers are refused, but an app that
 * has none may have one all the same.
 */
const groupsMax = 64

/** The groups that are read on this node, and what is known of all. */
export class Groups {
  /** By name of the app, the group and the stream. */
  readonly #groups = new Map<string, ReadGroup>()
  readonly #stopping = new Map<string, Promise<void>>()
  readonly #options: GroupsOptions
  /** Acks at other nodes. Whoever has the partition may wait for its log. */
  readonly #asked = new Questions<string>('partition', 6_000)
  acks = 0

  constructor (options: GroupsOptions) {
    const { links } = options
    this.#options = options
    links.acks = ask => { this.#answer(ask) }
    links.ackKnown = ({ askId, code }) => { this.#asked.answered(askId, code) }
  }

  /**
   * @returns what the reader is told, until it goes or has to
   * @throws GatewayError `overloaded`; `bad-request` where others in the group want other records
   */
  async join (joining: Joining): Promise<AsyncGenerator<string>> {
    const { of, wanted, ackWithinMs, format, signal } = joining
    const key = keyOf(joining, of.stream.name)
    await this.#stopping.get(key)
    const group = this.#groups.get(key) ?? this.#begin(key, joining)
    const reader = new GroupReader({ readerId: randomUUID(), format, ackWithinMs })
    group.join(reader, wanted)
    if (signal.aborted) group.leave(reader)
    signal.addEventListener('abort', () => { group.leave(reader) }, { once: true })
    return reader.pieces()
  }

  /** Resolves once it is known of each whether it is durable. */
  async ack (name: GroupName, cursors: readonly string[]): Promise<Acked[]> {
    return await Promise.all(cursors.map(async cursor => {
      const code = await this.#ack(name, parseAckCursor(cursor))
      return code === '' ? { cursor, status: 'acked' as const } : { cursor, status: 'rejected' as const, code }
    }))
  }

  /** Those that have acked anything, or have readers, of all apps. */
  async names (): Promise<Array<GroupName & { readonly stream: string }>> {
    const streams = publicStreams.map(({ stream }) => stream)
    const kept = await this.#options.places?.list(streams) ?? []
    const here = [...this.#groups.keys()].map(key => {
      const [app, group, stream] = key.split(' ') as [string, string, string]
      return { app, group, stream }
    })
    const all = [...here, ...kept.flatMap(({ group, stream }) => {
      const name = parseLogName(group)
      return name ? [{ ...name, stream }] : []
    })]
    const byKey = new Map(all.map(name => [keyOf(name, name.stream), name]))
    return [...byKey.keys()].sort().map(key => byKey.get(key)!)
  }

  /** By partition, the first place that is not acked. */
  async placesOf (name: GroupName, { stream }: PublicStream): Promise<Map<number, Place>> {
    return await this.#options.places?.of(stream, logNameOf(name)) ?? new Map()
  }

  /** On this node. */
  readersOf (name: GroupName, stream: string): ReaderShown[] {
    const group = this.#groups.get(keyOf(name, stream))
    const leases = [...group?.leases.values() ?? []]
    return [...group?.readers ?? []].map(reader => ({
      readerId: reader.options.readerId,
      stream,
      sinceMs: reader.sinceMs,
      partitions: leases.filter(lease => lease.reader === reader).map(({ partition }) => partition),
      unackedBytes: reader.unackedBytes,
    }))
  }

  /** Of the whole cluster. @throws GatewayError `ledger-unavailable` */
  async nodesOf (name: GroupName, stream: string): Promise<ReadingNode[]> {
    const { places, nodeId } = this.#options
    const of = publicStreams.find(({ stream: { name } }) => name === stream)!
    const members = await places?.members?.(of.stream, logNameOf(name))
    if (members) return members.map(({ clientId, partitions }) => ({ nodeId: clientId, stream, partitions }))
    const readers = this.readersOf(name, stream)
    return readers.length === 0
      ? []
      : [{ nodeId, stream, partitions: readers.flatMap(({ partitions }) => partitions) }]
  }

  /** How many readers this node has, and what they have not acked. */
  load (): { readonly readers: number, readonly unackedBytes: number } {
    const readers = [...this.#groups.values()].flatMap(group => [...group.readers])
    return { readers: readers.length, unackedBytes: readers.reduce((sum, reader) => sum + reader.unackedBytes, 0) }
  }

  /** @throws GatewayError `has-readers` */
  async forget (name: GroupName): Promise<void> {
    const { places } = this.#options
    const streams = publicStreams.map(({ stream }) => stream)
    const groups = streams.flatMap(stream => this.#groups.get(keyOf(name, stream.name)) ?? [])
    // Before the first one is forgotten: what is refused changes nothing.
    if (groups.some(({ readers }) => readers.size > 0)) throw new GatewayError('has-readers')
    await Promise.all(groups.map(group => group.stop()))
    const group = logNameOf(name)
    const areRead = await Promise.all(streams.map(stream => places?.hasMembers(stream, group)))
    if (areRead.includes(true)) throw new GatewayError('has-readers')
    for (const stream of streams) await places?.forget(stream, group)
  }

  async stop (): Promise<void> {
    await Promise.all([...this.#groups.values()].map(group => group.stop()))
    await Promise.all(this.#stopping.values())
  }

  #hasAny (app: string): boolean { return [...this.#groups.keys()].some(key => key.startsWith(`${app} `)) }

  #begin (key: string, { of, begins, ...name }: Joining): ReadGroup {
    if (this.#groups.size >= groupsMax && this.#hasAny(name.app)) throw new GatewayError('overloaded', `${groupsMax} groups are the bound`)
    const { log, nodeId, failed } = this.#options
    const group: ReadGroup = new ReadGroup({
      log,
      name: logNameOf(name),
      of,
      nodeId,
      begins,
      stopping: () => {
        this.#groups.delete(key)
        // Its place in the group must be free before it is taken again.
        this.#stopping.set(key, Promise.resolve().then(() => group.stop()).catch(() => {}).then(() => {
          this.#stopping.delete(key)
        }))
      },
      failed,
    })
    this.#groups.set(key, group)
    return group
  }

  /** @returns why it is not kept; empty where it is durable */
  async #ack (name: GroupName, cursor: AckCursor | undefined): Promise<string> {
    if (!cursor) return 'bad-request'
    const isHere = cursor.nodeId === this.#options.nodeId
    return await (isHere ? this.#ackHere(name, cursor) : this.#ackThere(name, cursor))
  }

  /** As `#ack`. */
  async #ackHere (name: GroupName, { stream, partition, place, epoch }: Omit<AckCursor, 'nodeId'>): Promise<string> {
    const group = this.#groups.get(keyOf(name, stream))
    if (!group) return 'not-leased'
    try {
      await group.ack(partition, place, epoch)
      this.acks++
      return ''
    } catch (err) {
      if (err instanceof GatewayError) return err.code
      this.#options.failed('an ack could not be kept', err as Error, { group: name.group, stream, partition })
      return 'internal'
    }
  }

  /** As `#ack`. A node that does not answer is about to lose the partition, if it has it at all. */
  async #ackThere ({ app, group }: GroupName, { stream, partition, place, epoch, nodeId }: AckCursor): Promise<string> {
    const { links, nodeId: askNodeId } = this.#options
    try {
      return await this.#asked.ask(askId => {
        links.toReaders({ type: 'askAck', nodeId, askNodeId, askId, app, group, stream, partition, ...place, epoch })
      })
    } catch {
      return 'not-leased'
    }
  }

  #answer ({ askNodeId: nodeId, askId, app, group, stream, partition, next, index, epoch }: AskAck): void {
    this.#ackHere({ app, group }, { stream, partition, place: { next, index }, epoch }).then(code => {
      this.#options.links.toAsker({ type: 'ackKnown', nodeId, askId, code })
    })
  }
}

function keyOf ({ app, group }: GroupName, stream: string): string { return `${app} ${group} ${stream}` }

/** By which the log knows the group: no name of an app or a group has a dot, and no other group begins so. */
function logNameOf ({ app, group }: GroupName): string {
  return app === '' ? `http.${group}` : `http.${app}.${group}`
}

function parseLogName (name: string): GroupName | undefined {
  const [, app = '', group] = /^http\.(?:([^.]+)\.)?([^.]+)$/.exec(name) ?? []
  return group === undefined ? undefined : { app, group }
}
