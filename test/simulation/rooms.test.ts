import { EventEmitter } from 'node:events'
import t from 'tap'
import type { Client } from '../../client/node.js'
import type { Posted } from '../../schemas/records.js'
import type { Device } from '../../simulation/device.js'
import { Random } from '../../simulation/random.js'
import type { RoomHost } from '../../simulation/rooms/host.js'
import { roomFaults, type RoomStreams } from '../../simulation/rooms/judge.js'
import { Member } from '../../simulation/rooms/member.js'
import type { Host } from '../../simulation/world.js'

t.test('A member of a room', async t => {
  const began = (place?: number) => {
    const room = new EventEmitter()
    const member = new Member(['room-0'])
    const kept = new Map(place === undefined ? [] : [['room/room-0', String(place)]])
    const host = { random: new Random(1, 'host') } as unknown as Host
    member.begin({ room: () => room } as unknown as Client, host, kept, () => {})
    const post = (roomSeq: number, messageId = `m${roomSeq}`) => { room.emit('post', { roomSeq, messageId }) }
    return { room, member, post }
  }

  await t.test('takes any post for the first one where it has no place, and then the next one', async t => {
    const { member, post } = began()
    for (const roomSeq of [7, 8]) post(roomSeq)
    t.strictSame(member.complaints, [])
    post(10)
    t.match(member.complaints, [/got post 10 of room-0 after 8/])
  })

  await t.test('goes on at the place that it has kept', async t => {
    const { member, post } = began(4)
    post(6)
    t.match(member.complaints, [/got post 6 of room-0 after 4/])
  })

  await t.test('is told of what it misses', async t => {
    const { room, member, post } = began(4)
    room.emit('missed', { count: 2 })
    post(7)
    t.strictSame(member.complaints, [])
  })

  await t.test('gets no post twice, nor another one under its number', async t => {
    const { member, post } = began(4)
    post(5)
    post(5, 'another')
    t.match(member.complaints, [/got post 5 of room-0 after 5/, /got another as post 5 of room-0, and m5 before/])
  })

  await t.test('is put out of a room that its token lets it into by nobody', async t => {
    const { room, member } = began()
    room.emit('left', { code: 'forbidden', reason: 'why' })
    t.match(member.complaints, [/was put out of room-0 with forbidden: why/])
  })
})

t.test('What a room was to do is seen to be broken', async t => {
  const posted = (roomSeq: number, messageId: string, from = ''): Posted =>
    ({ roomId: 'room-0', roomSeq, messageId, from, service: '', payload: Buffer.from(`of ${messageId}`), postedAtMs: 0 })
  const room = (...posts: Posted[]) => new Map([['room-0', new Map(posts.map(post => [post.roomSeq, post]))]])
  const [a, b] = [posted(1, 'a'), posted(2, 'u0/3', 'u0')]
  const judged = (more: Partial<RoomStreams>, { queued = ['a'], seen = [[1, 'a']] as Array<[number, string]>, roomId = 'room-0' } = {}) => {
    const streams = { published: room(a, b), folded: room(a, b), complaints: [], ...more }
    const host = { complaints: [], queued: new Map([['room-0', new Set(queued)]]) } as unknown as RoomHost
    const device = { name: 'u0/d0', member: { complaints: [], posts: new Map([['room-0', new Map(seen)]]) } } as unknown as Device
    const uplinks = [{ userId: 'u0', payload: 'of u0/3', userSeq: 3, roomId }]
    return [...roomFaults(streams, [device], host, uplinks, true)]
  }

  t.strictSame(judged({}), [])
  t.match(judged({ published: room(a) }), [/post 2 of room-0 is not there, and the stream rooms makes it u0\/3/, /uplink 3 of u0 is no post/])
  t.match(judged({ folded: room(a) }), [/post 2 of room-0 is u0\/3, and the stream rooms makes it nothing/])
  const twice = room(a, b, posted(3, 'u0/3', 'u0'))
  t.match(judged({ published: twice, folded: twice }), [/u0\/3 is post 2 and 3/])
  t.match(judged({}, { queued: ['a', 'c'] }), [/c was queued for room-0, and is no post of it/])
  t.match(judged({}, { seen: [[1, 'b']] }), [/u0\/d0 got b as post 1 of room-0, which is a/])
  t.match(judged({}, { roomId: 'room-1' }), [/uplink 3 of u0 is no post of room-1/])
})
