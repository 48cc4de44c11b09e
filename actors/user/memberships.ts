import type { RoomRight } from '../../schemas/room-rights.js'

/** A room that business has the user in, whatever his tokens say. */
export interface Membership {
  /** Within the user's app. */
  readonly roomId: string
  readonly rights: RoomRight
  /** Time of the entry that gave them, ms since 1970. */
  readonly grantedAtMs: number
}

/** Rooms of one user; what happens at the bound is in docs/limits.md. */
export const membershipsMax = 1_000

/** By room; the one granted first comes first. */
export type Memberships = Map<string, Membership>
