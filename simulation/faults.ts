import { clocksMs } from '../evidence/audit/lines.js'
import type { Device } from './device.js'
import type { Network } from './network.js'
import type { SimulatedNode } from './node.js'
import type { Random } from './random.js'
import { noTrouble } from './stores/broker.js'
import { noStoreTrouble } from './stores/channel.js'
import { noPubSubTrouble } from './stores/pubsub.js'
import type { SharedStores } from './stores/stores.js'
import type { World } from './world.js'

/** Who the faults are for. */
export interface Victims {
  readonly world: World
  readonly network: Network
  readonly stores: SharedStores
  readonly nodes: readonly SimulatedNode[]
  readonly devices: readonly Device[]
}

/** @returns what ends it, after so many ms */
type Fault = (victims: Victims, random: Random) => { readonly ms: number, readonly end: () => void } | undefined

/** What may happen, by the name that `--faults` takes. */
export const faults = {
  /** A node's process or its machine is gone, and comes back. */
  crash ({ nodes }, random) {
    const node = random.pick(nodes)
    if (node.host.isDown) return undefined
    node.crash(random.chance(0.3))
    return { ms: random.between(500, 20_000), end: () => { node.start() } }
  },

  /** A node is stopped in an orderly way, and starts again. */
  restart ({ nodes }, random) {
    random.pick(nodes.filter(node => node.isUp))?.stop()
    return undefined
  },

  /** A node does nothing for a while, and knows nothing of it afterwards. */
  pause ({ nodes }, random) {
    const { host } = random.pick(nodes)
    if (host.isDown || host.held) return undefined
    host.pause()
    return { ms: random.between(100, 20_000), end: () => { host.resume() } }
  },

  /** A device and a node do not reach each other; what they send waits. */
  cut ({ network, devices, nodes }, random) {
    const [device, node] = [random.pick(devices), random.pick(nodes)]
    network.cut(device.host, node.host)
    return { ms: random.between(1_000, 60_000), end: () => { network.heal() } }
  },

  /** An application ends in the middle of what it does, and begins again with what its storage has. */
  app ({ devices }, random) {
    const device = random.pick(devices)
    if (device.host.isDown) return undefined
    device.crash()
    return { ms: random.between(100, 10_000), end: () => { device.start() } }
  },

  /** Appends are lost on their way, or their answers; some are written twice then. */
  appends ({ stores: { broker } }, random) {
    broker.trouble = {
      ...broker.trouble,
      requestLost: random.between(0, 0.3),
      answerLost: random.between(0, 0.3),
      repeated: random.next(),
    }
    return { ms: random.between(1_000, 15_000), end: () => { broker.trouble = noTrouble } }
  },

  /** The brokers do not answer. */
  broker ({ stores: { broker } }, random) {
    broker.trouble = { ...broker.trouble, isAway: true }
    return { ms: random.between(500, 15_000), end: () => { broker.trouble = noTrouble } }
  },

  /** One node does not reach the log, and others may take its partitions; or it does not reach Redis. */
  cutoff ({ nodes, stores: { broker, redis } }, random) {
    const { host } = random.pick(nodes)
    if (random.chance(0.4)) {
      redis.cutOff.add(host)
      return { ms: random.between(1_000, 20_000), end: () => { redis.cutOff.delete(host) } }
    }
    broker.cutOff(host)
    return { ms: random.between(1_000, 20_000), end: () => { broker.heal() } }
  },

  /** The time of day of a node is off by as much as the audit allows, that of a device by hours; later it is right. */
  clock ({ nodes, devices }, random) {
    const ofNode = random.chance(0.5)
    const { host } = ofNode ? random.pick(nodes) : random.pick(devices)
    host.clockOffsetMs = random.between(-0.5, 0.5) * (ofNode ? clocksMs : 36_000_000)
    return { ms: random.between(1_000, 60_000), end: () => { host.clockOffsetMs = 0 } }
  },

  /** Redis refuses, or answers to nobody, or is away. */
  redis ({ stores: { redis } }, random) {
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
  tables ({ stores: { tables } }) {
    tables.lose()
    return undefined
  },

  /** The saved states are those of a while ago, or none. */
  states ({ stores: { snapshots } }, random) {
    if (random.chance(0.3)) {
      snapshots.restore()
      return undefined
    }
    const copy = snapshots.copy()
    return { ms: random.between(1_000, 20_000), end: () => { snapshots.restore(copy) } }
  },

  /** Messages between nodes are lost, and late. */
  links ({ stores: { pubSub } }, random) {
    pubSub.trouble = { lost: random.between(0, 0.5), lateMsMax: random.between(5, 2_000) }
    return { ms: random.between(1_000, 20_000), end: () => { pubSub.trouble = noPubSubTrouble } }
  },
} satisfies Record<string, Fault>

export type FaultName = keyof typeof faults

export const faultNames = Object.keys(faults) as FaultName[]

/** Has faults happen until `untilMs`, about every `everyMs`; all have ended by then. */
export function haveFaults (
  victims: Victims, random: Random, names: readonly FaultName[], everyMs: number, untilMs: number
): Record<string, number> {
  const counts: Record<string, number> = {}
  const { outside } = victims.world
  const next = (): void => {
    outside.later(random.between(0.2, 1.8) * everyMs, 'a fault', () => {
      if (victims.world.nowMs >= untilMs) return
      const name = random.pick(names)
      counts[name] = (counts[name] ?? 0) + 1
      const fault = (faults[name] as Fault)(victims, random)
      const leftMs = untilMs - victims.world.nowMs
      if (fault) outside.later(Math.min(fault.ms, leftMs), `the end of a fault: ${name}`, fault.end)
      next()
    })
  }
  if (names.length > 0) next()
  return counts
}
