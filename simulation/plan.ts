import type { FaultName } from './faults.js'

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
