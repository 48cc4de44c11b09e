import { bansMax } from '../actors/user/bans.js'
import { ofPartition } from '../actors/snapshots.js'
import { stateOf } from '../actors/user/parts.js'
import { requestsMax } from '../actors/requests.js'
import {
  connectionsMax, forgottenMax, outboxMax, sessionsMax, type UserState,
} from '../actors/user/state.js'
import type { Device } from './device.js'
import type { Network } from './network.js'
import type { SimulatedNode } from './node.js'
import type { SnapshotStore } from './stores/snapshots.js'
import type { World } from './world.js'

export interface Watched {
  readonly world: World
  readonly network: Network
  /** Undefined where the node keeps them by itself. */
  readonly snapshots: SnapshotStore | undefined
  readonly nodes: readonly SimulatedNode[]
  readonly devices: readonly Device[]
}

const everyMs = 1_000
/** Saved states are many: they are looked at that seldom. */
const statesEveryMs = 10_000

/** A client that does not read is let go past a MiB; what one turn and one refill add comes on top of that. */
const unsentBytesMax = (1 << 20) + (256 << 10)
/** Of the SDK. */
const unackedMax = 1_000

/**
 * Looks, in every second, at the bounds of docs/limits.md that this world can reach.
 *
 * @returns what was beyond one, in words
 */
export function watchBounds (watched: Watched): Set<string> {
  const beyond = new Set<string>()
  const { world } = watched
  let looks = 0
  const look = (): void => {
    world.outside.later(everyMs, 'looks at bounds', () => {
      for (const fault of faultsNow(watched)) beyond.add(fault)
      if (++looks % (statesEveryMs / everyMs) === 0) for (const fault of stateFaults(watched)) beyond.add(fault)
      look()
    })
  }
  look()
  return beyond
}

function * faultsNow ({ network, nodes, devices }: Watched): Iterable<string> {
  for (const { host, options: { id } } of nodes) {
    const most = network.unsentBytes(host)
    if (most > unsentBytesMax) yield `${id} keeps ${most} bytes for one socket, and ${unsentBytesMax} are the bound`
  }
  for (const { name, unacked } of devices) {
    if (unacked > unackedMax) yield `${name} keeps ${unacked} uplinks, and ${unackedMax} are the bound`
  }
}

/** Of users, as they are saved. */
function * stateFaults ({ snapshots }: Watched): Iterable<string> {
  for (const { users } of snapshots?.copy().values() ?? []) {
    for (const [userId, saved] of users) {
      if (userId === ofPartition) continue
      for (const [what, is, bound] of sizesOf(stateOf(saved))) {
        if (is > bound) yield `${userId} has ${is} ${what}, and ${bound} are the bound`
      }
    }
  }
}

function * sizesOf (state: UserState): Iterable<readonly [what: string, is: number, bound: number]> {
  yield ['sessions', state.sessions.size, sessionsMax]
  yield ['connections', state.connections.size, connectionsMax]
  yield ['requests', state.requests.size, requestsMax]
  yield ['waiting downlinks', state.waiting.length, outboxMax]
  yield ['forgotten devices', state.forgotten.size, forgottenMax]
  yield ['bans', state.bans.size, bansMax]
  for (const { deviceId, outbox, answers, answersMax } of state.sessions.values()) {
    yield [`downlinks of ${deviceId}`, outbox.length, outboxMax]
    yield [`answers of ${deviceId}`, answers.length, 2 * answersMax] // cut by half where there are so many
  }
}
