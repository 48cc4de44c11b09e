import type { LocalEnds, Links } from '../actors/links.js'
import type { RebuildableSnapshots } from '../actors/snapshots.js'
import type { Circuit } from '../ledger/circuit.js'
import type { StandingPartition } from '../ledger/kafka/followings.js'
import type { EventLog, GroupPlaces } from '../ledger/log.js'
import type { LogTimings } from '../ledger/timings.js'
import type { RebuildableTables } from '../projections/tables/tables.js'
import type { Stream } from '../schemas/streams.js'
import type { BackUp } from './backups.js'
import type { StreamCutting } from './stream-cut.js'

/** The ports of design.md 3, all of one side and open. What the roles are built on. */
export interface Stores {
  readonly log: EventLog
  readonly tables: RebuildableTables
  readonly snapshots: RebuildableSnapshots
  /** Saved states of rooms. */
  readonly roomSnapshots: RebuildableSnapshots
  readonly links: Links & LocalEnds
  /** True where other processes work on the same stores. */
  readonly shared: boolean
  /** How many bytes of blocks a stream may hold, by its name; undefined for no bound of ours. */
  bytesMax? (name: string): number | undefined
  /** Copies the data directory; absent where there is none. */
  backUp?: BackUp
  /**
   * How what is old is deleted of a stream that states are made of, by its name; undefined where the log does it
   * itself, or nothing of it ever is.
   */
  cutting? (name: string): StreamCutting | undefined
  /** Commits of the log that have ended, where everything that waits shares them; else 0 for ever. */
  commits (): number
  /** Why commits to the local disk are slow, in words; empty where they are not, or there is no such disk. */
  slowDisk (): string
  /** The same of Redis. */
  slowRedis (): string
  /** How far this machine's time of day is from that of others, in words; empty where it is not, or there are none. */
  clockOff (): string
  /** What all groups have committed; undefined where nobody can tell. */
  readonly groupPlaces?: GroupPlaces
  /** Groups that keep no store of their own, as far as this process is a member: the first offset not delivered. */
  groups (): readonly FollowingGroup[]
  /** Partitions of the log that stand still for this process. */
  standing (): readonly StandingPartition[]
  /** Why nothing of the log can be had or stored just now, in words; empty where it can, or nobody has tried. */
  logAway (): string
  /** Why no user actor can answer just now, for states or links are away, in words; empty where one may. */
  usersAway (): string
  /** Before what the stores are kept in, as far as that is in other processes. */
  circuits (): readonly Circuit[]
  /** The node stops: what can't be stored now and can be had from the ledger again is not waited for. */
  stopping (): void
  /** Waits until the log's followers here were handed all that this process has appended, but not for long. */
  delivered (): Promise<void>
  /** Flushes and closes them all. The roles have stopped before. */
  close (): Promise<void>
}

/** Who is told what the log does. */
export interface LogObserver extends LogTimings {
  /** A stored record of this stream can not be read, and was set aside. */
  rejected (stream: string): void
}

export interface FollowingGroup {
  readonly group: string
  readonly stream: Stream<any>
  readonly partitions: ReadonlyMap<number, bigint>
}
