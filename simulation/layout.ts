import { type Role, roles } from '../gateway/config.js'
import type { Random } from './random.js'

/** Of clusters whose nodes do not all do everything. */
const dividedShare = 0.4

/** Which roles each node has: everybody all of them, or some of them, and then each is somebody's. */
export function layout (random: Random, nodes: number): Role[][] {
  if (nodes < 2 || !random.chance(dividedShare)) return Array.from({ length: nodes }, () => [...roles])
  const divided = Array.from({ length: nodes }, () => roles.filter(() => random.chance(0.4)))
  for (const [i, own] of divided.entries()) if (own.length === 0) own.push(roles[i % roles.length]!)
  // Two of each where that can be, so that one may fail.
  for (const role of roles) {
    for (let have = divided.filter(own => own.includes(role)).length; have < 2; have++) {
      random.pick(divided.filter(own => !own.includes(role))).push(role)
    }
  }
  return divided
}
