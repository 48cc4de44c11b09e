import { appOf, userKey } from '../../schemas/apps.js'
import type { Join } from '../../schemas/frames.js'
import { RoomPatterns, type RoomRight } from '../../schemas/room-rights.js'
import { idWanted, isId } from '../../schemas/text.js'
import type { EdgeRoom } from '../edge-rooms/room.js'
import type { MembershipsTold } from '../links.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'

const noRooms: never[] = []
const noGrants: ReadonlyMap<string, RoomRight> = new Map()

/** What a connection has to do with rooms. Made when there is first something. */
export class ConnectionRooms {
  /** Those that it is in, or is to be answered about. */
  joined: EdgeRoom[] = noRooms
  /** Rights that business gave its user, by room id. */
  granted = noGrants
  /** Which of their changes these are. */
  grantsVersion = 0
  /** It has been given less than there is: it read too slowly. */
  isBehind = false

  constructor (
    /** What its token allows. */
    public patterns: RoomPatterns
  ) {}

  /** @param right `r` to join, `w` to post */
  may (right: 'r' | 'w', roomId: string): boolean {
    return this.granted.get(roomId)?.includes(right) === true || this.patterns.may(right, roomId)
  }

  /** The room has had no post, as far as is known here. */
  isNew (roomId: string): boolean {
    return !this.joined.some(room => room.roomId === roomId && room.tail.roomSeq > 0)
  }

  joins (room: EdgeRoom): void {
    if (!this.joined.includes(room)) this.joined = [...this.joined, room]
  }

  left (room: EdgeRoom): void { this.joined = this.joined.filter(each => each !== room) }
}

export function join (connection: Connection, { roomId, roomSeq }: Join): void {
  connection.cursor.answered()
  if (!isGoodId(connection, roomId)) return
  if (roomSeq < -1) {
    closeConnection(connection, 'protocol', `roomSeq ${roomSeq} is below -1`)
    return
  }
  const { rooms } = connection
  if (!rooms?.may('r', roomId)) {
    tellLeft(connection, roomId, 'forbidden', noRead)
    return
  }
  enter(connection, rooms, roomId, roomSeq)
}

export function leave (connection: Connection, roomId: string): void {
  connection.cursor.answered()
  if (!isGoodId(connection, roomId)) return
  const room = connection.rooms?.joined.find(each => each.roomId === roomId)
  if (!room) {
    tellLeft(connection, roomId, 'not-found', 'this connection is not in the room')
    return
  }
  connection.edge.rooms.leave(connection, room)
  tellLeft(connection, roomId, 'left', '')
}

/** Whether it may post in the room. Before `connected` nobody knows what business gave its user. */
export function mayPost ({ rooms }: Connection, roomId: string): boolean {
  return rooms?.may('w', roomId) === true
}

/** It has shown a token: what it may no longer read, it leaves. */
export function tokenAllows (connection: Connection, patterns: RoomPatterns): void {
  if (connection.rooms) connection.rooms.patterns = patterns
  else if (!patterns.isEmpty) connection.rooms = new ConnectionRooms(patterns)
  leaveForbidden(connection)
}

/** All rooms that business has its user in. One that comes late is older than what is known. */
export function membershipsTold (connection: Connection, { version, rooms }: MembershipsTold): void {
  if (connection.rooms && version <= connection.rooms.grantsVersion) return
  granted(connection, new Map(rooms.map(({ roomId, rights }) => [roomId, rights])))
  if (connection.rooms) connection.rooms.grantsVersion = version
}

/**
 * Business gave its user these rights, and no others. It is made a member of what he may read now and could not before;
 * what it may no longer read, it leaves.
 */
export function granted (connection: Connection, grants: ReadonlyMap<string, RoomRight>): void {
  if (grants.size === 0 && !connection.rooms) return
  connection.rooms ??= new ConnectionRooms(RoomPatterns.none)
  const { rooms } = connection
  const before = rooms.granted
  rooms.granted = grants
  for (const [roomId, right] of grants) {
    if (right.includes('r') && before.get(roomId)?.includes('r') !== true) enter(connection, rooms, roomId, -1)
  }
  leaveForbidden(connection)
}

/** Its socket is gone. */
export function leaveAll (connection: Connection): void {
  const { rooms, edge } = connection
  if (!rooms) return
  for (const room of rooms.joined) edge.rooms.leave(connection, room)
}

function enter (connection: Connection, rooms: ConnectionRooms, roomId: string, roomSeq: number): void {
  const { edge, userId } = connection
  const isIn = rooms.joined.some(each => each.roomId === roomId)
  if (!isIn && rooms.joined.length >= edge.rooms.roomsMax) {
    tellLeft(connection, roomId, 'too-many-rooms', `it is in ${edge.rooms.roomsMax} rooms, the most that it may be in`)
    return
  }
  rooms.joins(edge.rooms.join(connection, userKey(appOf(userId), roomId), roomSeq))
}

function leaveForbidden (connection: Connection): void {
  const { rooms, edge } = connection
  if (!rooms) return
  for (const room of rooms.joined) {
    if (rooms.may('r', room.roomId)) continue
    edge.rooms.leave(connection, room)
    tellLeft(connection, room.roomId, 'forbidden', noRead)
  }
}

const noRead = 'the right to read is lacking'

function isGoodId (connection: Connection, roomId: string): boolean {
  if (isId(roomId)) return true
  closeConnection(connection, 'bad-frame', `roomId: ${idWanted}`)
  return false
}

function tellLeft (connection: Connection, roomId: string, code: string, reason: string): void {
  connection.write({ op: 'left', roomId, code, reason })
}
