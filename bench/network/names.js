import { userIdOf } from '../load/protocols/ledgerline.js'

/** The user of the client with this number, of this part. */
export function userOf (index, part) { return userIdOf(index, `user-${part}`) }

/** The room that it is in, where there are `rooms`. */
export function roomOf (index, rooms, part) { return `room-${part}-${index % rooms}` }
