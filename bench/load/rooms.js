import { setTimeout as wait } from 'node:timers/promises'
import { out } from './outgoing.js'
import { startUsage } from './usage.js'

/** Posts on the way in each room, and deliveries that may be due over all rooms. */
const aheadMax = 48
const dueMax = 10_000
/** Joins without an answer on one connection. */
const joiningMax = 20
const turnMs = 1

/**
 * Makes every connection a member of its rooms: membership number `m` is of connection `m % connections` in the room
 * `first + m / members`.
 *
 * @param {import('./connections.js').Connections} connections all open
 * @param {{ first?: number, rooms: number, members: number, serverPid: number }} options members of each room
 * @returns {Promise<{ perSecond: number, usage: import('./usage.js').Usage }>} joins answered
 */
export async function join (connections, { first = 0, rooms, members, serverPid }) {
  const { list } = connections
  const roomsOf = list.map(() => [])
  for (let m = 0; m < rooms * members; m++) roomsOf[m % list.length].push(`room-${first + Math.floor(m / members)}`)
  let left = rooms * members
  let done = () => {}
  const all = new Promise(resolve => { done = resolve })
  const asked = list.map(() => 0)
  const joinedBefore = list.map(conn => conn.joined)
  const answered = list.map(() => 0)
  const ask = conn => {
    const { index } = conn
    while (asked[index] < roomsOf[index].length && asked[index] - answered[index] < joiningMax) {
      conn.protocol.putJoin(conn, roomsOf[index][asked[index]++])
    }
  }
  connections.drive({
    progress (conn) {
      const joined = conn.joined - joinedBefore[conn.index]
      left -= joined - answered[conn.index]
      answered[conn.index] = joined
      ask(conn)
      if (left === 0) done()
    },
  })
  const endUsage = startUsage(serverPid)
  for (const conn of list) {
    ask(conn)
    out.flush(conn.socket)
  }
  await all
  const usage = endUsage()
  return { perSecond: rooms * members / usage.seconds, usage }
}

/**
 * Members post in turn, as often as what is delivered allows, and everybody in the room gets it, its author included.
 *
 * @param {import('./connections.js').Connections} connections all open and joined
 * @param {{ rooms: number, members: number, warmMs: number, windowMs: number, serverPid: number }} options
 * @returns {Promise<{ perSecond: number, posts: number, usage: import('./usage.js').Usage }>} deliveries in the window
 */
export async function posts (connections, { rooms, members, warmMs, windowMs, serverPid }) {
  const { list } = connections
  const ahead = Math.min(aheadMax * rooms * members, Math.max(dueMax, 4 * members))
  let delivered = 0
  let posted = 0
  connections.drive({ progress (_conn, _acks, deliveries) { delivered += deliveries } })
  const pump = () => {
    while ((posted + 1) * members - delivered <= ahead) {
      const room = posted % rooms
      const membership = room * members + Math.floor(posted / rooms) % members
      const conn = list[membership % list.length]
      conn.protocol.putPost(conn, `room-${room}`)
      out.flush(conn.socket)
      posted++
    }
  }
  const pumping = setInterval(pump, turnMs)
  pump()
  await wait(warmMs)
  const before = { delivered, posted }
  const endUsage = startUsage(serverPid)
  await wait(windowMs)
  const usage = endUsage()
  const perSecond = (delivered - before.delivered) / usage.seconds
  clearInterval(pumping)
  return { perSecond, posts: (posted - before.posted) / usage.seconds, usage }
}
