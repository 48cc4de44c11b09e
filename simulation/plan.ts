import type { FaultName } from './faults.js'
import { Random } from './random.js'

/** A cluster's stores; one node's, on a disk of its own; or one of both, as the seed says. */
export const plannedStores = ['cluster', 'embedded', 'drawn'] as const
export type PlannedStores = typeof plannedStores[number]

/** What a world is like. */
export interface Plan {
  readonly seed: number
  /** Of virtual time in which there is traffic; faults end a quarter of a minute before. */
  readonly minutes: number
  readonly stores: PlannedStores
  /** Of a cluster. */
  readonly nodes: number
  readonly devices: number
  readonly faults: readonly FaultName[]
  /** Ms between two faults, about. */
  readonly faultEveryMs: number
}

/** How many nodes the cluster of a seed has, where that is drawn: most often a few, at most seven. */
export function nodesOf (seed: number): number { return new Random(seed, 'nodes').pick([1, 2, 2, 3, 3, 3, 3, 4, 5, 7]) }
