import type { Victims } from '../faults.js'
import { saveAsBefore } from '../older-states.js'
import type { Random } from '../random.js'
import { noTrouble } from './broker.js'
import { noStoreTrouble } from './channel.js'
import { noPubSubTrouble } from './pubsub.js'
import type { SharedStores } from './stores.js'

/** Whose stores they are, and who reaches them. */
export interface StoreVictims extends Victims {
  readonly stores: SharedStores
}

/** What may happen to the stores of a cluster, and on the way to them. */
export const storeFaults = {
  /** Appends are lost on their way, or their answers; some are written twice then. */
  appends ({ stores: { broker } }: StoreVictims, random: Random) {
    broker.trouble = {
      ...broker.trouble,
      requestLost: random.between(0, 0.3),
      answerLost: random.between(0, 0.3),
      repeated: random.next(),
    }
    return { ms: random.between(1_000, 15_000), end: () => { broker.trouble = noTrouble } }
  },

  /** The brokers do not answer. */
  broker ({ stores: { broker } }: StoreVictims, random: Random) {
    broker.trouble = { ...broker.trouble, isAway: true }
    return { ms: random.between(500, 15_000), end: () => { broker.trouble = noTrouble } }
  },

  /** One node does not reach the log, and others may take its partitions; or it does not reach Redis. */
  cutoff ({ nodes, stores: { broker, redis } }: StoreVictims, random: Random) {
    const { host } = random.pick(nodes)
    if (random.chance(0.4)) {
      redis.cutOff.add(host)
      return { ms: random.between(1_000, 20_000), end: () => { redis.cutOff.delete(host) } }
    }
    broker.cutOff(host)
    return { ms: random.between(1_000, 20_000), end: () => { broker.heal() } }
  },

  /**
   * An uplink is still on its way to the log while its application ends, loses that it has sent it, and begins again at
   * another node: what it sends there gets the same number.
   */
  late ({ world, network, nodes, devices, stores: { broker } }: StoreVictims, random: Random) {
    const device = random.pick(devices)
    const node = nodes.find(({ options: { address } }) => address === device.nodeAddress)
    if (!node || device.host.held) return undefined
    broker.cutOff(node.host)
    device.flood(1)
    const cancel = world.outside.later(random.between(50, 300), 'a device loses what it has sent', () => {
      device.crash(true)
      network.cut(device.host, node.host)
      device.start()
    })
    return {
      ms: random.between(1_000, 8_000),
      end: () => {
        cancel()
        broker.heal()
        network.heal()
      },
    }
  },

  /** Redis refuses, or answers to nobody, or is away. */
  redis ({ stores: { redis } }: StoreVictims, random: Random) {
    redis.trouble = {
      ...redis.trouble,
      isAway: random.chance(0.4),
      refused: random.between(0, 0.3),
      answerLost: random.between(0, 0.3),
      latencyMs: random.chance(0.3) ? [50, 900] : [0.2, 1.5],
    }
    return { ms: random.between(500, 15_000), end: () => { redis.trouble = noStoreTrouble } }
  },

  /** Redis has lost the tables. */
  tables ({ stores: { tables } }: StoreVictims) {
    tables.lose()
    return undefined
  },

  /** The copies of the saved states are those of a while ago, or gone. */
  states ({ stores: { snapshots } }: StoreVictims, random: Random) {
    if (random.chance(0.3)) {
      snapshots.restore()
      return undefined
    }
    const copy = snapshots.copy()
    return { ms: random.between(1_000, 20_000), end: () => { snapshots.restore(copy) } }
  },

  /** Some copies of saved states are those that the version before states in parts has saved. */
  older ({ stores: { snapshots } }: StoreVictims, random: Random) {
    saveAsBefore(snapshots, random)
    return undefined
  },

  /** Messages between nodes are lost, and late. */
  links ({ stores: { pubSub } }: StoreVictims, random: Random) {
    pubSub.trouble = { lost: random.between(0, 0.5), lateMsMax: random.between(5, 2_000) }
    return { ms: random.between(1_000, 20_000), end: () => { pubSub.trouble = noPubSubTrouble } }
  },

  /** Brokers are lost that led some partitions: with what no other one has, and until others lead. */
  leaders ({ stores: { broker } }: StoreVictims, random: Random) {
    const led = broker.all().filter(({ isLeaderless, isStalled }) => !isLeaderless && !isStalled && random.chance(0.4))
    for (const partition of led) partition.isStalled = true
    const lostAfterMs = random.between(0, 400)
    const cancel = broker.options.turns.later(lostAfterMs, 'leaders are lost', () => {
      for (const partition of led) partition.loseLeader()
    })
    return {
      ms: lostAfterMs + random.between(50, 8_000),
      end: () => {
        cancel() // the world may end it before they are lost
        for (const partition of led) partition.isLeaderless = partition.isStalled = false
      },
    }
  },

  /** The changelogs of saved states are compacted. */
  compaction ({ stores: { changelog, roomChangelog } }: StoreVictims, random: Random) {
    for (const each of [changelog, roomChangelog]) each.compact(random)
    return undefined
  },
}
