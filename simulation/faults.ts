import { type ActionName, actions, type Actors } from './actions.js'
import type { Device } from './device.js'
import { diskFaults } from './embedded/faults.js'
import type { Network } from './network.js'
import type { SimulatedNode } from './node.js'
import type { Random } from './random.js'
import { storeFaults } from './stores/faults.js'
import type { SimulatedStores } from './stores/stores.js'
import { type TokenService, tokenTroubles } from './token-service.js'
import type { World } from './world.js'

/** Who the faults are for. */
export interface Victims {
  readonly world: World
  readonly network: Network
  readonly nodes: readonly SimulatedNode[]
  readonly devices: readonly Device[]
  readonly tokenService: TokenService | undefined
  /** Whether more may come to a node than it has time for. */
  readonly isCrowded: boolean
}

/** @returns what ends it, after so many ms */
export type Fault<V> = (victims: V, random: Random) => { readonly ms: number, readonly end: () => void } | undefined

/** Lets a fault happen in a world. */
export type Happen = (random: Random) => ReturnType<Fault<unknown>>

/** By how much a clock may be off: by minutes, by hours, by more than a year; ms. */
const clocksOff = [300_000, 6 * 3_600_000, 400 * 86_400_000]

/** What a turn of a busy node takes, µs: from what is felt to what nobody can work off. */
const busyTurnUs = [200, 6_000] as const
/** Of a crowd: how many send at once, how often, and how many uplinks they send altogether each time. */
const crowd = { devicesMin: 2, everyMs: 250, uplinks: 80 }

/** What may happen in every world, by the name that `--faults` takes; what its stores have besides is theirs to say. */
const worldFaults = {
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
    if (random.chance(0.5)) device.crash()
    else device.crashInWrite()
    return { ms: random.between(100, 10_000), end: () => { device.start() } }
  },

  /** So does one that waits for acks, if any does; its storage has not got what it had said to have written last. */
  disk ({ devices }, random) {
    const up = devices.filter(({ host }) => !host.isDown)
    const waiting = up.filter(({ unacked }) => unacked > 0)
    const device = random.pick(waiting.length > 0 ? waiting : up)
    device?.crash(true)
    return device && { ms: random.between(100, 10_000), end: () => { device.start() } }
  },

  /** A device does nothing, as one in a pocket, until its server takes it for gone. */
  sleep ({ devices }, random) {
    const { host } = random.pick(devices)
    if (host.isDown || host.held) return undefined
    host.pause()
    return { ms: random.between(1_000, 200_000), end: () => { host.resume() } }
  },

  /** Whom business asks about tokens does not answer as it should. */
  tokens ({ tokenService }, random) {
    if (!tokenService) return undefined
    tokenService.trouble = random.pick(tokenTroubles)
    return { ms: random.between(1_000, 20_000), end: () => { tokenService.trouble = undefined } }
  },

  /** All that a node does takes its time. */
  busy ({ nodes }, random) {
    const { host } = random.pick(nodes)
    host.turnUs = Math.round(random.between(...busyTurnUs))
    return { ms: random.between(1_000, 10_000), end: () => { host.turnUs = 0 } }
  },

  /** So does it at a node to which far more is sent than to others. */
  crowd ({ world, nodes, devices, isCrowded }, random) {
    const node = random.pick(nodes)
    const { host, options: { address } } = node
    const here = devices.filter(({ nodeAddress }) => nodeAddress === address)
    if (!isCrowded || here.length < crowd.devicesMin) return undefined
    host.turnUs = Math.round(random.between(...busyTurnUs))
    let isOver = false
    const next = (): void => {
      if (isOver) return
      for (const device of here) device.flood(Math.ceil(crowd.uplinks / here.length), true)
      world.outside.later(crowd.everyMs, 'a crowd sends', next)
    }
    next()
    return {
      ms: random.between(4_000, 8_000),
      end: () => {
        isOver = true
        host.turnUs = 0
      },
    }
  },

  /** The time of day of a node's or a device's machine is off, also when a process starts on it; later it is right. */
  clock ({ nodes, devices }, random) {
    const machine = random.chance(0.5) ? random.pick(nodes) : random.pick(devices)
    machine.host.clockOffsetMs = random.between(-1, 1) * random.pick(clocksOff)
    return { ms: random.between(1_000, 60_000), end: () => { machine.host.clockOffsetMs = 0 } }
  },
} satisfies Record<string, Fault<Victims>>

export type FaultName = keyof typeof worldFaults | keyof typeof storeFaults | keyof typeof diskFaults | ActionName

export const faultNames = Object.keys({ ...worldFaults, ...storeFaults, ...diskFaults, ...actions }) as FaultName[]

/** What somebody does is no fault: where nothing else happens all is well, and must be so. */
export function isFault (name: FaultName): boolean { return !(name in actions) }

/** Of these faults those that can happen in a world with these stores. */
export function faultsIn (
  victims: Victims, stores: SimulatedStores, names: readonly FaultName[]
): ReadonlyMap<FaultName, Happen> {
  const all = { ...boundTo(victims, worldFaults), ...stores.faults(victims) }
  return new Map(names.flatMap(name => all[name] ? [[name, all[name]]] : []))
}

/** Of these what somebody does. */
export function actionsIn (actors: Actors, names: readonly FaultName[]): ReadonlyMap<FaultName, Happen> {
  const all = boundTo(actors, actions)
  return new Map(names.flatMap(name => all[name] ? [[name, all[name]]] : []))
}

export function boundTo<V> (victims: V, faults: Record<string, Fault<V>>): Record<string, Happen> {
  return Object.fromEntries(Object.entries(faults).map(([name, fault]) => [name, random => fault(victims, random)]))
}

/**
 * Has these happen until `untilMs`, about every `everyMs`; all have ended by then.
 *
 * @param counts how often each has happened
 */
export function haveFaults (
  world: World, faults: ReadonlyMap<FaultName, Happen>, random: Random, everyMs: number, untilMs: number,
  counts: Record<string, number>
): void {
  const { outside } = world
  const names = [...faults.keys()]
  const next = (): void => {
    outside.later(random.between(0.2, 1.8) * everyMs, 'a fault', () => {
      if (world.nowMs >= untilMs) return
      const name = random.pick(names)
      counts[name] = (counts[name] ?? 0) + 1
      const fault = faults.get(name)!(random)
      const leftMs = untilMs - world.nowMs
      if (fault) outside.later(Math.min(fault.ms, leftMs), `the end of a fault: ${name}`, fault.end)
      next()
    })
  }
  if (names.length > 0) next()
}
