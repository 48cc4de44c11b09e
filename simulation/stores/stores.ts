import type { Logger } from 'pino'
import { redisLinks } from '../../actors/links-redis.js'
import { clusterSnapshots } from '../../actors/snapshots-cluster.js'
import type { Config } from '../../gateway/config.js'
import type { Environment } from '../../gateway/setting.js'
import type { Stores } from '../../gateway/stores.js'
import type { StreamCutting } from '../../gateway/stream-cut.js'
import type { EventLog } from '../../ledger/log.js'
import type { RebuildableTables } from '../../projections/tables/tables.js'
import type { Health } from '../../schemas/conditions.js'
import { connections, ledger, nodes, posts, rooms, uplinks } from '../../schemas/streams.js'
import { boundTo, type Happen, type Victims } from '../faults.js'
import { Random } from '../random.js'
import type { Turns } from '../world.js'
import { Broker } from './broker.js'
import { ChangelogStore, SimulatedChangelog } from './changelog.js'
import { Channel, noStoreTrouble, type SharedStore } from './channel.js'
import { storeFaults } from './faults.js'
import { forwardOnly, offsets } from './forward.js'
import { SimulatedLog } from './log.js'
import { asRedis, Publisher, PubSub, Subscriber } from './pubsub.js'
import { SimulatedSnapshots, SnapshotStore } from './snapshots.js'
import { SimulatedTables, TableStore } from './tables.js'

/** Where the nodes of a simulated world keep everything. */
export interface SimulatedStores {
  /** Settings of the nodes that go with it. */
  readonly environment: Environment
  /** Records of derived streams stand there once. */
  readonly isExact: boolean
  /** Nothing is deleted from the log. */
  readonly isWhole: boolean
  /** What the nodes did to a store and never should have, in words. */
  readonly complaints: readonly string[]
  /** A node's view; in place of `openStores`. */
  open (config: Config, node: Turns, logger: Logger, health: Health): Promise<Stores>
  /**
   * A node's process has ended.
   *
   * @param silently as where the power fails
   */
  ended (silently: boolean): void
  /** What may happen to them, and on the way to them, by the name of the fault. */
  faults (victims: Victims): Record<string, Happen>
  /** For who looks from outside, as another host, while the world goes on. */
  look<T> (host: Turns, work: (log: EventLog, tables: RebuildableTables) => Promise<T>): Promise<T>
}

export interface SharedOptions {
  readonly turns: Turns
  readonly seed: number
  readonly nowMs: () => number
  readonly wallMs: () => number
  readonly partitions: number
  readonly sessionMs: number
}

/** Short, for a world of minutes; longer than anybody who derives is away. */
const retentionMs = {
  [ledger.name]: 20_000,
  [rooms.name]: 20_000,
  [uplinks.name]: 90_000,
  [posts.name]: 90_000,
  [connections.name]: 90_000,
  [nodes.name]: 90_000,
}
/** Names the ledger. */
const identity = 'the simulated one'

/** What the nodes of a simulated cluster share: a log as Kafka has it, and three stores as Redis has them. */
export class SharedStores implements SimulatedStores {
  readonly broker: Broker
  readonly redis: SharedStore
  readonly tables: TableStore
  readonly snapshots = new SnapshotStore()
  readonly changelog = new ChangelogStore()
  readonly roomSnapshots = new SnapshotStore()
  readonly roomChangelog = new ChangelogStore()
  readonly pubSub: PubSub
  readonly environment: Environment
  /** A takeover may repeat some. */
  readonly isExact = false
  readonly complaints: string[] = []

  /** Whether what is old is deleted, as the seed says: who looks from outside reads it all the same. */
  readonly #deletes: boolean
  readonly #wallMs: () => number

  constructor ({ turns, seed, nowMs, wallMs, partitions, sessionMs }: SharedOptions) {
    this.#deletes = new Random(seed, 'retention').chance(0.4)
    this.#wallMs = wallMs
    const retention = Object.entries(retentionMs).map(([name, ms]) => `${name}=${ms}`).join()
    this.environment = {
      KAFKA_BROKERS: '10.2.0.1:9092',
      REDIS_URL: 'redis://10.2.0.2',
      ...this.#deletes ? { KAFKA_RETENTION_MS: retention } : {},
    }
    this.broker = new Broker({
      turns,
      random: new Random(seed, 'broker'),
      nowMs: wallMs,
      partitionsOf: stream => stream.name.startsWith(nodes.name) ? 1 : partitions,
      sessionMs,
    })
    // What is folded is cut by those who own it.
    const { [ledger.name]: _ledger, [rooms.name]: _rooms, ...ofBrokers } = retentionMs
    if (this.#deletes) this.broker.deleteByAge(ofBrokers)
    this.redis = { turns, random: new Random(seed, 'redis'), nowMs, trouble: noStoreTrouble, cutOff: new Set() }
    this.tables = new TableStore(this.redis)
    this.pubSub = new PubSub(this.redis)
  }

  async open (config: Config, node: Turns, logger: Logger, health: Health): Promise<Stores> {
    const { nodeId, topicPrefix: prefix } = config
    const failed = (what: string, err: Error, fields: object): void => { logger.error({ err, ...fields }, what) }
    const log = new SimulatedLog({
      broker: this.broker,
      turns: node,
      nodeName: nodeId,
      followerFailed: (error, where) => { failed('a follower failed', error as Error, { where }) },
    })
    const channel = (what: string) => new Channel(this.redis, node, `${nodeId} ${what}`)
    const subscriber = new Subscriber(this.pubSub, channel('links, in'))
    const links = await redisLinks({
      publisher: asRedis(new Publisher(this.pubSub, channel('links, out'))),
      subscriber: asRedis(subscriber),
      prefix,
      nodeId,
      health,
      failed,
    })
    const clock = channel('clock')
    const nowMs = async (): Promise<number> => Math.min(Date.now(), await clock.ask('time', this.#wallMs))
    const cutting = (stream: string): StreamCutting | undefined => {
      const keptMs = retentionMs[stream]
      return keptMs === undefined ? undefined : { log, retentionMs: keptMs, nowMs }
    }
    const snapshotsOf = (what: string, store: ChangelogStore, copies: SnapshotStore) => clusterSnapshots({
      changelog: new SimulatedChangelog({ broker: this.broker, store, turns: node }),
      copy: new SimulatedSnapshots(copies, channel(what)),
      identity,
      onFailed (error, partition) { health.begin('snapshots', (error as Error).message, `${what} of partition ${partition}`) },
      onSaved (partition) { health.end('snapshots', `${what} of partition ${partition}`) },
    })
    const snapshots = snapshotsOf('snapshots', this.changelog, this.snapshots)
    const roomSnapshots = snapshotsOf('snapshots of rooms', this.roomChangelog, this.roomSnapshots)
    const complain = (complaint: string): void => { this.complaints.push(`${nodeId}: ${complaint}`) }
    return {
      log,
      tables: new SimulatedTables(this.tables, channel('tables')),
      snapshots: forwardOnly(snapshots, offsets.users, complain),
      roomSnapshots: forwardOnly(roomSnapshots, offsets.rooms, complain),
      links,
      shared: true,
      ...this.#deletes ? { cutting } : {},
      commits: () => 0,
      slowDisk: () => '',
      slowRedis: () => '',
      clockOff: () => '',
      groups: () => [],
      standing: () => [],
      logAway: () => '',
      usersAway: () => '',
      circuits: () => [],
      stopping () {},
      async delivered () {}, // a node that stops does not wait here: its successor has to go on
      async close () {
        await links.stop()
        subscriber.disconnect()
        snapshots.close()
        roomSnapshots.close()
        await log.close()
      },
    }
  }

  faults (victims: Victims): Record<string, Happen> {
    const { tables, ...others } = storeFaults
    // What only a table still knows is gone with it, once the ledger was cut.
    return boundTo({ ...victims, stores: this }, this.#deletes ? others : { ...others, tables })
  }

  get isWhole (): boolean { return !this.#deletes }

  /** They have it all, whatever becomes of a node. */
  ended (): void {}

  async look<T> (host: Turns, work: (log: EventLog, tables: RebuildableTables) => Promise<T>): Promise<T> {
    const log = new SimulatedLog({ broker: this.broker, turns: host, nodeName: 'auditor', isWhole: true, followerFailed () {} })
    return await work(log, new SimulatedTables(this.tables, new Channel(this.redis, host, 'auditor')))
  }
}
