import type { Device } from './device.js'
import type { Fault } from './faults.js'
import type { SimulatedNode } from './node.js'
import { type Operator, tablesRebuilt } from './operator.js'
import type { RoomHost } from './rooms/host.js'
import { closedRooms, openRooms, rooms } from './rooms/member.js'
import type { Service } from './service.js'
import type { Strangers } from './strangers.js'

/** Who does what is done, and to whom. */
export interface Actors {
  readonly nodes: readonly SimulatedNode[]
  readonly devices: readonly Device[]
  readonly service: Service
  readonly operator: Operator
  readonly roomHost: RoomHost
  readonly strangers: Strangers
  /** What all that is sent and pushed comes faster by; 0 for none at all. */
  readonly pace: { factor: number }
  /** The log is all there: a table that is made anew from it is what it was. */
  readonly isWhole: boolean
  /** Audits the log as it is. */
  readonly audit: () => void
}

/** What is done in the world while other things go wrong, by the name that `--faults` takes. */
export const actions = {
  /** Somebody is thrown out, and signs in again. */
  kick ({ operator, devices }, random) {
    operator.kick(random.pick(devices), random.chance(0.5))
    return undefined
  },

  /** Somebody is kept out for a while, on all devices or on one, and comes back. */
  ban ({ operator, devices }, random) {
    const ms = random.between(2_000, 25_000)
    operator.ban(random.pick(devices), random.chance(0.5), ms, random.between(0, 2) * ms)
    return undefined
  },

  /** A node's connections are to go elsewhere. */
  drain ({ operator, nodes }, random) {
    const { options: { id } } = random.pick(nodes)
    operator.drain(id, random.pick([30, 100]), Math.round(random.between(1_000, 15_000)))
    return undefined
  },

  /** A table, or the saved states, are made anew beside the live ones. */
  rebuild ({ operator, isWhole }, random) {
    if (isWhole) operator.rebuild(random.pick(tablesRebuilt))
    return undefined
  },

  /** A device gets some of what it has had once more. */
  redeliver ({ operator, devices }, random) {
    operator.redeliver(random.pick(devices), 1 + random.below(10))
    return undefined
  },

  /** Somebody signs out on a device, and in again. */
  signOut ({ devices }, random) {
    const device = random.pick(devices)
    if (!device.signOut()) return undefined
    return { ms: random.between(500, 15_000), end: () => { device.signIn() } }
  },

  /** Whoever knows nothing of the protocol, or not enough. */
  stranger ({ strangers }, random) {
    strangers.come(random)
    return undefined
  },

  signal ({ service, devices }, random) {
    service.signal(random.pick(devices).options.userId)
    return undefined
  },

  /** A push is taken back. */
  recall ({ service, devices }, random) {
    service.recall(random.pick(devices).options.userId)
    return undefined
  },

  /** A push takes the place of one before it. */
  replace ({ service, devices }, random) {
    service.replace(random.pick(devices).options.userId)
    return undefined
  },

  /** An application leaves a room, and joins it again. */
  leave ({ devices }, random) {
    const [device, roomId] = [random.pick(devices), random.pick(openRooms)]
    if (!device.member.leave(roomId)) return undefined
    return { ms: random.between(0, 10_000), end: () => { device.member.join(roomId) } }
  },

  /** A signal to everybody. */
  broadcast ({ service }) {
    service.broadcast()
    return undefined
  },

  /** Somebody is put into a room, or taken out of it, with all his devices. */
  member ({ roomHost, devices }, random) {
    roomHost.turn(random.pick(devices).options.userId, random.pick(closedRooms))
    return undefined
  },

  roomSignal ({ roomHost }, random) {
    roomHost.signal(random.pick(rooms))
    return undefined
  },

  /** A push that is too old before long. */
  brief ({ service, devices }, random) {
    service.pushBriefly(random.pick(devices).options.userId, Math.round(random.between(200, 20_000)))
    return undefined
  },

  /** One push to many users. */
  many ({ service, devices }, random) {
    const userIds = new Set(devices.filter(() => random.chance(0.7)).map(({ options: { userId } }) => userId))
    service.pushToMany([...userIds])
    return undefined
  },

  /** The books are looked at in the middle. */
  audit ({ audit }) {
    audit()
    return undefined
  },

  /** Nobody sends or pushes anything, or everybody far more than usual. */
  swing ({ pace }, random) {
    pace.factor = random.pick([0, 0.2, 5, 25])
    return { ms: random.between(2_000, pace.factor > 5 ? 4_000 : 15_000), end: () => { pace.factor = 1 } }
  },

  /** A device sends far more than a connection may. */
  flood ({ devices }, random) {
    random.pick(devices).flood(100 + random.below(1_200))
    return undefined
  },
} satisfies Record<string, Fault<Actors>>

export type ActionName = keyof typeof actions
