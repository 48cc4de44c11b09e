import { redisLinks } from '../../actors/links-redis.js'
import type { Config } from '../../gateway/config.js'
import type { Stores } from '../../gateway/stores.js'
import { nodes } from '../../schemas/streams.js'
import type { Health } from '../../schemas/conditions.js'
import { Random } from '../random.js'
import type { Turns } from '../world.js'
import { Broker } from './broker.js'
import { Channel, noStoreTrouble, type SharedStore } from './channel.js'
import { SimulatedLog } from './log.js'
import { asRedis, Publisher, PubSub, Subscriber } from './pubsub.js'
import { SimulatedSnapshots, SnapshotStore } from './snapshots.js'
import { SimulatedTables, TableStore } from './tables.js'

export interface SharedOptions {
  readonly turns: Turns
  readonly seed: number
  readonly nowMs: () => number
  readonly wallMs: () => number
  readonly partitions: number
  readonly sessionMs: number
}

/** What the nodes of a simulated cluster share: a log as Kafka has it, and three stores as Redis has them. */
export class SharedStores {
  readonly broker: Broker
  readonly redis: SharedStore
  readonly tables: TableStore
  readonly snapshots = new SnapshotStore()
  readonly roomSnapshots = new SnapshotStore()
  readonly pubSub: PubSub

  constructor ({ turns, seed, nowMs, wallMs, partitions, sessionMs }: SharedOptions) {
    this.broker = new Broker({
      turns,
      random: new Random(seed, 'broker'),
      nowMs: wallMs,
      partitionsOf: stream => stream.name.startsWith(nodes.name) ? 1 : partitions,
      sessionMs,
    })
    this.redis = { turns, random: new Random(seed, 'redis'), nowMs, trouble: noStoreTrouble, cutOff: new Set() }
    this.tables = new TableStore(this.redis)
    this.pubSub = new PubSub(this.redis)
  }

  /** A node's view of them; in place of `openStores`. */
  async open (
    config: Config, node: Turns, health: Health, failed: (what: string, error: Error, fields: object) => void
  ): Promise<Stores> {
    const { nodeId, topicPrefix: prefix } = config
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
    return {
      log,
      tables: new SimulatedTables(this.tables, channel('tables')),
      snapshots: new SimulatedSnapshots(this.snapshots, channel('snapshots')),
      roomSnapshots: new SimulatedSnapshots(this.roomSnapshots, channel('snapshots of rooms')),
      links,
      shared: true,
      commits: () => 0,
      commitSeconds: () => 0,
      slowDisk: () => '',
      slowRedis: () => '',
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
        await log.close()
      },
    }
  }
}
