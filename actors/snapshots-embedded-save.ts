import type { WriteBatch } from '../ledger/embedded/batch.js'
import type { Environment } from '../ledger/embedded/environment.js'
import { checkpointKey, type StatesOf } from '../ledger/embedded/keys.js'
import { olderPartKey, snapshotKey, snapshotPartKey } from '../ledger/embedded/snapshot-keys.js'
import type { PartId, StateChanges } from './snapshots.js'

/* How a save of states becomes writes of one commit or several. */

/**
 * What goes into one commit: a part that no head names yet, the head with what changed with it, or a part that no head
 * names any more.
 */
export interface Step {
  readonly what: 'added' | 'head' | 'gone'
  readonly userId: string
  readonly changes: StateChanges
  /** '' for the head. */
  readonly id: PartId
}

export interface Save {
  readonly partition: number
  /** The checkpoint that it brings; none where nothing but parts is removed. */
  readonly next: number | undefined
  readonly users: ReadonlyMap<string, StateChanges>
  readonly steps: readonly Step[]
  /** Steps that are stored, and with those in the commit under way. */
  stored: number
  written: number
  resolve (): void
  reject (err: unknown): void
}

export function stepsOf (users: ReadonlyMap<string, StateChanges>): Step[] {
  const steps: Step[] = []
  for (const [userId, changes] of users) {
    for (const id of changes.added.keys()) steps.push({ what: 'added', userId, changes, id })
    steps.push({ what: 'head', userId, changes, id: '' })
    for (const id of changes.gone) steps.push({ what: 'gone', userId, changes, id })
  }
  return steps
}

/** Those that are not stored yet, until the commit has `end` page bytes. */
export function writeSteps (env: Environment, batch: WriteBatch, of: StatesOf, save: Save, end: number): void {
  const { partition, steps } = save
  for (let i = save.stored; i < steps.length && batch.pageBytes < end; i++) {
    const { what, userId, changes, id } = steps[i]!
    const isNeighbour = i > save.stored && steps[i - 1]!.userId === userId
    if (what === 'head') {
      writeHead(env, batch, of, partition, userId, changes, isNeighbour)
    } else if (what === 'added') {
      batch.put(snapshotPartKey(partition, userId, id, of), changes.added.get(id)!, isNeighbour)
      batch.hasBulk = true
    } else {
      batch.remove(snapshotPartKey(partition, userId, id, of), isNeighbour)
      removeOlder(env, batch, of, partition, userId, id)
    }
    save.written = i + 1
  }
}

/** What removes the parts of a save that was given up: no head names them, and nobody knows of them. */
export function removalOf (given: Save): Save[] {
  if (given.next === undefined) return [{ ...given, written: given.stored }]
  let unnamed: Step[] = []
  for (const step of given.steps.slice(0, given.stored)) {
    if (step.what === 'head') unnamed = []
    else if (step.what === 'added') unnamed.push({ ...step, what: 'gone' })
  }
  if (unnamed.length === 0) return []
  const { partition } = given
  return [{
    partition, next: undefined, users: new Map(), steps: unnamed, stored: 0, written: 0, resolve () {}, reject () {},
  }]
}

function writeHead (
  env: Environment, batch: WriteBatch, of: StatesOf, partition: number, userId: string, { head, changed }: StateChanges,
  isNeighbour: boolean
): void {
  if (head) batch.put(snapshotKey(partition, userId, of), head, isNeighbour)
  else batch.remove(snapshotKey(partition, userId, of), isNeighbour)
  for (const [id, part] of changed) {
    batch.put(snapshotPartKey(partition, userId, id, of), part, true)
    removeOlder(env, batch, of, partition, userId, id)
  }
}

/** What the format before has stored of the part, which is written or goes now. */
function removeOlder (
  env: Environment, batch: WriteBatch, of: StatesOf, partition: number, userId: string, id: PartId
): void {
  const olderKey = olderPartKey(partition, userId, id, of)
  if (olderKey && env.getBinaryFast(olderKey)) batch.remove(olderKey, true)
}

export function writeCheckpoint (batch: WriteBatch, of: StatesOf, { partition, next }: Save): void {
  if (next === undefined) return
  const checkpoint = batch.room(6)
  checkpoint.writeUIntBE(next, 0, 6)
  batch.put(checkpointKey(partition, of), checkpoint)
}
