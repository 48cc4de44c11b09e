import t, { type Test } from 'tap'
import type { DownlinkSenderDeps } from '../../gateway/downlink-sender.js'
import { followDownlinks } from '../../gateway/downlinks.js'
import type { PostCommand } from '../../gateway/rooms.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { EncodeError } from '../../ledger/encode-error.js'
import type { EventLog, Follower } from '../../ledger/log.js'
import { commandOf } from '../../ledger/rejected.js'
import { type Health, nobodyWatches } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import type { DownlinkCommand, DownlinkRecord } from '../../schemas/records.js'
import { downlinks, downlinksRejected } from '../../schemas/streams.js'
import { until } from '../faults/node-process.js'

t.test('Commands of the stream downlinks', async t => {
  t.test('are pushed, and again until every user is queued', async t => {
    const { log } = await given(t)
    const pushed: string[] = []
    let failures = 2
    const following = await follow(t, log, async ({ messageId, userIds }) => {
      pushed.push(messageId)
      const status = messageId === 'm2' && failures-- > 0 ? 'rejected' as const : 'queued' as const
      return { messageId, users: userIds.map(userId => ({ userId, status })) }
    })
    await log.append(downlinks, 0, [command('m1'), command('m2'), command('m3')])
    await until(() => pushed.length === 3)
    await until(() => following.lasting.size === 1)
    t.strictSame([...following.lasting], ['downlinks 0@0'], 'that it waits is told')
    await until(() => pushed.length === 5)
    t.strictSame(pushed.toSorted(), ['m1', 'm2', 'm2', 'm2', 'm3'])
    await until(() => following.lasting.size === 0)
  })

  t.test('of one user keep their order where one is tried again, and those of others do not wait', async t => {
    const { log } = await given(t)
    const pushed: string[] = []
    let failures = 2
    const following = await follow(t, log, async ({ messageId, userIds, app }) => {
      if (app === '' && userIds.includes('ann') && failures-- > 0) throw new GatewayError('ledger-unavailable')
      pushed.push(messageId)
      return queued(command(messageId, { userIds }))
    })
    await log.append(downlinks, 0, [
      command('m1'), command('m2', { userIds: ['bob', 'ann'] }), command('m3', { userIds: ['bob'] }), command('m4'),
      command('m5', { userIds: ['cy'] }), command('m6', { app: 'shop' }),
    ])
    await until(() => pushed.length > 0)
    await log.append(downlinks, 0, [command('m7'), command('m8', { userIds: ['cy'] })])
    await until(() => pushed.length === 8)
    await until(() => following.lasting.size === 0)
    const only = (...ids: string[]) => pushed.filter(id => ids.includes(id))
    t.strictSame(only('m1', 'm2', 'm4', 'm7'), ['m1', 'm2', 'm4', 'm7'], 'ann')
    t.strictSame(only('m2', 'm3'), ['m2', 'm3'], 'bob')
    t.strictSame(only('m1', 'm5', 'm8'), ['m5', 'm8', 'm1'], 'cy')
    t.strictSame(only('m1', 'm6'), ['m6', 'm1'], 'ann of another app')
  })

  t.test('of one user, or one room, that wait for each other go on together, and in order', async t => {
    const { log } = await given(t)
    let go = () => {}
    const held = new Promise<void>(resolve => { go = resolve })
    const following = await follow(t, log, async ({ messageId, userIds }) => {
      await held
      return queued(command(messageId, { userIds }))
    }, async () => { await held })
    const inRoom = (messageId: string, fields: Partial<DownlinkRecord> = {}) =>
      command(messageId, { userIds: [], roomId: 'chat:7', ...fields })
    await log.append(downlinks, 0, [command('m1'), inRoom('p1')])
    await until(() => following.atOnce.length === 2)
    await log.append(downlinks, 0, [
      command('m2'), inRoom('p2'), command('m3'), command('m4', { ttlMs: 0 }), command('m5'),
      command('both', { userIds: ['ann', 'bob'] }), command('m6'), inRoom('s1', { delivery: 'signal' }), inRoom('p3'), inRoom('p4'),
    ])
    await new Promise(resolve => setTimeout(resolve, 20))
    t.strictSame(following.atOnce, ['m1', 'p1'], 'each waits for the one before')
    go()
    await until(() => following.atOnce.includes('m6') && following.atOnce.includes('p3 p4'))
    t.strictSame(following.atOnce.filter(ids => ids.includes('m')), ['m1', 'm2 m3', 'm5', 'm6'])
    t.strictSame(following.atOnce.filter(ids => !ids.includes('m')), ['p1', 'p2', 's1', 'p3 p4'])
    t.equal((await rejected(log, 1)).length, 1, 'm4, which is no such request')
  })

  t.test('are pushed again to those users only whose request was not stored', async t => {
    const { log } = await given(t)
    const pushed: string[][] = []
    const following = await follow(t, log, async ({ messageId, userIds }) => {
      pushed.push([...userIds])
      const isFirst = pushed.length === 1
      const statusOf = (userId: string) => isFirst && userId === 'bob' ? 'rejected' as const : 'queued' as const
      return { messageId, users: userIds.map(userId => ({ userId, status: statusOf(userId) })) }
    })
    await log.append(downlinks, 0, [command('m1', { userIds: ['ada', 'bob', 'cy'] })])
    await until(() => pushed.length === 2)
    await until(() => following.lasting.size === 0)
    t.strictSame(pushed, [['ada', 'bob', 'cy'], ['bob']])
  })

  t.test('that the ledger has no room for are set aside, and do not keep those behind them', async t => {
    const { log } = await given(t)
    const pushed: string[] = []
    const following = await follow(t, log, async command => {
      pushed.push(command.messageId)
      if (command.messageId !== 'large') return queued(command)
      if (command.userIds.length === 1) throw new GatewayError('payload-too-large', 'too large')
      const [first, second] = command.userIds as [string, string]
      const refused = { userId: second, status: 'rejected' as const, code: 'payload-too-large' }
      return { messageId: 'large', users: [{ userId: first, status: 'queued' as const }, refused] }
    })
    const large = [command('large', { userIds: ['ada', 'bob'] }), command('large', { userIds: ['cy'] })]
    await log.append(downlinks, 0, [...large, command('m2')])
    const rejected: string[] = []
    for await (const { items } of log.read(downlinksRejected, 0, { from: 0n, signal: AbortSignal.timeout(10_000) })) {
      rejected.push(...items.map(({ userId, code }) => `${userId} ${code}`))
      if (rejected.length === 2) break
    }
    t.strictSame(rejected.sort(), ['bob payload-too-large', 'cy payload-too-large'])
    t.strictSame(pushed.toSorted(), ['large', 'large', 'm2'])
    await until(() => following.lasting.size === 0)
  })

  t.test('that can not be encoded are set aside and counted, and do not keep those behind them', async t => {
    const { log } = await given(t)
    const pushed: string[] = []
    const following = await follow(t, log, async command => {
      if (command.messageId === 'bad') throw new EncodeError(new RangeError('long: got 2e60'))
      pushed.push(command.messageId)
      if (command.messageId !== 'mixed') return queued(command)
      const [first, second] = command.userIds as [string, string]
      const refused = { userId: second, status: 'rejected' as const, code: 'internal' }
      return { messageId: 'mixed', users: [{ userId: first, status: 'queued' as const }, refused] }
    })
    await log.append(downlinks, 0, [
      command('bad', { userIds: ['ada'] }), command('m1', { userIds: ['ada'] }), command('bad', { userIds: ['ada', 'bob'] }),
      command('mixed', { userIds: ['ada', 'cy'] }), command('m2', { userIds: ['cy'] }),
    ])
    const found = await rejected(log, 3)
    t.strictSame(found.map(({ userId, code, command }) => `${userId} ${code} ${commandOf(command)!.messageId}`),
      ['ada internal bad', 'ada internal bad', 'cy internal mixed'])
    t.match(found[0], { reason: 'bad: it can not be encoded: long: got 2e60' })
    await until(() => pushed.length === 3)
    t.strictSame(pushed, ['m1', 'mixed', 'm2'])
    await until(() => following.lasting.size === 0)
    t.strictSame(following.counted, ['internal', 'internal', 'internal'])
  })

  t.test('that fail by a defect of ours are tried again, and told as a condition, but never set aside', async t => {
    const { log } = await given(t)
    const pushed: string[] = []
    let failures = 2
    const following = await follow(t, log, async command => {
      if (failures-- > 0) throw new TypeError('undefined is not a function')
      pushed.push(command.messageId)
      return queued(command)
    })
    await log.append(downlinks, 0, [command('m1'), command('m2')])
    await until(() => following.lasting.size === 1)
    await until(() => pushed.length === 2 && following.lasting.size === 0)
    t.strictSame(pushed, ['m1', 'm2'])
    t.strictSame(following.counted, [])
  })

  t.test('have the trace context of their record where messages are traced, and nothing that is none', async t => {
    const context = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    for (const [isTracing, header, taken] of [
      [true, context, context], [true, `${context}-and-more`, undefined], [true, '', undefined], [false, context, undefined],
    ] as const) {
      const pushed: Array<string | undefined> = []
      const log = {
        async follow (_stream: unknown, _group: string, follower: Follower<DownlinkRecord>) {
          await follower.assigned(0, 0n, {} as never)
          const headers: Array<readonly [string, Buffer]> = [['traceparent', Buffer.from(header)]]
          await follower.received({ partition: 0, offset: 0n, items: [command('m1')], headers } as never)
          return { commit () {} }
        },
      } as unknown as EventLog
      await followDownlinks({
        log,
        isTracing,
        push: async one => queued(one),
        async pushInOrder (commands) {
          pushed.push(...commands.map(({ traceparent }) => traceparent))
          return commands.length
        },
        postInOrder: async () => { throw new Error('nothing here names a room') },
        hasApp: () => true,
        frameBytesMax: 512,
        health: nobodyWatches,
        rejected: () => {},
      })
      await until(() => pushed.length === 1)
      t.strictSame(pushed, [taken], `${isTracing} ${header}`)
    }
  })

  t.test('have their place for an id where they name none', async t => {
    const { log } = await given(t)
    const pushed: string[] = []
    await follow(t, log, async command => {
      pushed.push(command.messageId)
      return queued(command)
    })
    await log.append(downlinks, 0, [command('')])
    await until(() => pushed.length === 1)
    t.strictSame(pushed, ['downlinks/0@0'])
  })

  t.test('that can not be stored do not keep a node from stopping, however many there are', async t => {
    const { log } = await given(t)
    const following = await follow(t, log, async () => { throw new Error('the ledger is away') })
    for (let i = 0; i < 300; i++) await log.append(downlinks, 0, [command(`m${i}`)])
    await following.stop()
    t.pass()
  })

  t.test('are held up to 4 MiB of them, however few they are', async t => {
    const { log } = await given(t)
    const usersOf = (command: number) => Array.from({ length: 400 }, (_, i) => `${command}-${i}${'u'.repeat(240)}`)
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    let pushed = 0
    await follow(t, log, async command => {
      pushed++
      await held
      return queued(command)
    })
    for (let i = 0; i < 100; i++) await log.append(downlinks, 0, [command(`m${i}`, { userIds: usersOf(i) })])
    await until(() => pushed > 20)
    await new Promise(resolve => setTimeout(resolve, 100))
    t.ok(pushed < 50, `${pushed} of 100 with 100 KB of user ids each`)
    release()
    await until(() => pushed === 100)
  })

  t.test('are not committed before those in front of them are stored', async t => {
    const { log, reopen } = await given(t)
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    const first = await follow(t, log, async command => {
      if (command.messageId === 'm1') await held
      return queued(command)
    })
    for (const messageId of ['m1', 'm2']) await log.append(downlinks, 0, [command(messageId)])
    await new Promise(resolve => setTimeout(resolve, 50))
    await first.stop()
    release()
    const later = await reopen()
    const again: string[] = []
    const second = await follow(t, later, async command => {
      again.push(command.messageId)
      return queued(command)
    })
    await until(() => again.length === 2)
    t.strictSame(again, ['m1', 'm2'])
    await new Promise(resolve => setTimeout(resolve, 50))
    await second.stop()
    const last = await reopen()
    const none: string[] = []
    await follow(t, last, async command => {
      none.push(command.messageId)
      return queued(command)
    })
    await last.append(downlinks, 0, [command('m3')])
    await until(() => none.length > 0)
    t.strictSame(none, ['m3'], 'what is committed is not pushed again')
  })

  const wrong: Record<string, Partial<DownlinkCommand>> = {
    'no user': { userIds: [] },
    'a user twice': { userIds: ['ann', 'ann'] },
    'an empty user id': { userIds: [''] },
    'a long user id': { userIds: ['a'.repeat(257)] },
    'a user id of 256 emoji': { userIds: ['😀'.repeat(256)] },
    'a user id with a line break': { userIds: ['a\nb'] },
    'a messageId of 65 emoji': { messageId: '😀'.repeat(65) },
    'a service of 65 emoji': { service: '😀'.repeat(65) },
    'a time to live of nothing': { ttlMs: 0 },
    'a platform of 17 emoji': { platforms: ['😀'.repeat(17)] },
    'a long device': { devices: ['d'.repeat(257)] },
    'an empty device': { exceptDevices: [''] },
    'a long platform': { platforms: ['p'.repeat(65)] },
    'too many devices': { exceptDevices: Array.from({ length: 101 }, (_, i) => `d${i}`) },
  }
  for (const [what, fields] of Object.entries(wrong)) {
    t.test(`with ${what} are rejected as bad requests`, async t => {
      const { log } = await given(t)
      await follow(t, log, async command => t.fail(`${command.messageId} was pushed`) as never)
      await log.append(downlinks, 0, [command('m1', fields)])
      const [record] = await rejected(log, 1)
      t.match(record, { code: 'bad-request', userId: fields.userIds ? fields.userIds[0] ?? '' : 'ann' })
      t.match(commandOf(record!.command), fields)
    })
  }

  t.test('are of the app that they name, and rejected where there is none of that name', async t => {
    const { log } = await given(t)
    const pushed: DownlinkCommand[] = []
    await follow(t, log, async command => {
      pushed.push(command)
      return queued(command)
    })
    await log.append(downlinks, 0, [
      command('m1', { app: 'shop' }), command('m2', { app: 'bank' }), command('m3', { app: 'no app' }),
      command('m4', { userIds: ['shop\u001fann'] }), command('m5'),
    ])
    const records = await rejected(log, 3)
    await until(() => pushed.length === 2)
    t.strictSame(pushed.map(({ messageId, app }) => [messageId, app]).sort(), [['m1', 'shop'], ['m5', '']])
    t.strictSame(records.map(({ code, userId }) => [code, userId]).sort(), [
      ['bad-request', ''], ['bad-request', 'ann'], ['bad-request', 'bank\u001fann'],
    ])
  })

  t.test('that no frame could carry are rejected', async t => {
    const { log } = await given(t)
    await follow(t, log, async command => t.fail(`${command.messageId} was pushed`) as never)
    await log.append(downlinks, 0, [command('m1', { payload: Buffer.alloc(1_000) })])
    t.match(await rejected(log, 1), [{ code: 'payload-too-large' }])
  })
})

t.test('Commands of the stream downlinks that name a room', async t => {
  const inRoom = (messageId: string, fields: Partial<DownlinkRecord> = {}) =>
    command(messageId, { userIds: [], roomId: 'chat:7', ttlMs: 0, ...fields })
  const nothingPushed = (t: Test) => async ({ messageId: id }: DownlinkCommand) => t.fail(`${id} was pushed`) as never

  t.test('are posted there, in the room of their app, and again until each is stored', async t => {
    const { log } = await given(t)
    const posted: PostCommand[] = []
    let failures = 2
    const following = await follow(t, log, nothingPushed(t), async post => {
      if (post.messageId === 'm2' && failures-- > 0) throw new GatewayError('ledger-unavailable')
      posted.push(post)
    })
    await log.append(downlinks, 0, [
      inRoom('m1', { service: 'news' }), inRoom('m2', { app: 'shop', delivery: 'signal' }), inRoom(''),
    ])
    await until(() => posted.length === 3)
    await until(() => following.lasting.size === 0)
    const common = { service: '', payload: Buffer.from('hello'), by: '' }
    t.strictSame(posted.map(post => ({ ...post, payload: Buffer.from(post.payload) })), [
      { ...common, roomId: 'chat:7', messageId: 'm1', service: 'news', delivery: 'durable' },
      { ...common, roomId: 'chat:7', messageId: 'downlinks/0@0.2', delivery: 'durable' },
      { ...common, roomId: 'shop\u001fchat:7', messageId: 'm2', delivery: 'signal' },
    ])
  })

  t.test('keep the order of their room where one is tried again, and those of others do not wait', async t => {
    const { log } = await given(t)
    const posted: string[] = []
    let failures = 2
    await follow(t, log, nothingPushed(t), async ({ messageId }) => {
      if (messageId !== 'other' && failures-- > 0) throw new GatewayError('ledger-unavailable')
      posted.push(messageId)
    })
    await log.append(downlinks, 0, [inRoom('m1'), inRoom('m2'), inRoom('other', { roomId: 'chat:8' })])
    await until(() => posted.length > 0)
    await log.append(downlinks, 0, [inRoom('m3', { delivery: 'signal' })])
    await until(() => posted.length === 4)
    t.strictSame(posted, ['other', 'm1', 'm2', 'm3'])
  })

  for (const code of ['room-closed', 'payload-too-large'] as const) {
    t.test(`are set aside where it is ${code}, and do not keep those behind them`, async t => {
      const { log } = await given(t)
      const posted: string[] = []
      const following = await follow(t, log, nothingPushed(t), async ({ messageId }) => {
        posted.push(messageId)
        if (messageId === 'm1') throw new GatewayError(code)
      })
      await log.append(downlinks, 0, [inRoom('m1'), inRoom('m2')])
      const [record] = await rejected(log, 1)
      t.match(record, { code, userId: '' })
      t.match(commandOf(record!.command), { messageId: 'm1', roomId: 'chat:7' })
      await until(() => following.lasting.size === 0)
      t.strictSame(posted, ['m1', 'm2'])
    })
  }

  const wrong: Record<string, [code: string, fields: Partial<DownlinkRecord>]> = {
    'users as well': ['bad-request', { userIds: ['ann'] }],
    platforms: ['bad-request', { platforms: ['ios'] }],
    devices: ['bad-request', { devices: ['phone'] }],
    'devices that are left out': ['bad-request', { exceptDevices: ['phone'] }],
    'a room id with a control character': ['bad-request', { roomId: 'shop\u001fchat:7' }],
    'a long service': ['bad-request', { service: 's'.repeat(257) }],
    'the service of recalls': ['bad-request', { service: 'ledgerline.recall' }],
    'an app that is none': ['bad-request', { app: 'no app' }],
    'a payload that no frame could carry': ['payload-too-large', { payload: Buffer.alloc(1_000) }],
  }
  for (const [what, [code, fields]] of Object.entries(wrong)) {
    t.test(`with ${what} are rejected`, async t => {
      const { log } = await given(t)
      await follow(t, log, nothingPushed(t), async ({ messageId }) => { t.fail(`${messageId} was posted`) })
      await log.append(downlinks, 0, [inRoom('m1', fields)])
      t.match(await rejected(log, 1), [{ code }])
    })
  }
})

function command (messageId: string, fields: Partial<DownlinkRecord> = {}): DownlinkRecord {
  return {
    messageId,
    userIds: ['ann'],
    service: '',
    payload: Buffer.from('hello'),
    ttlMs: 1_000,
    delivery: 'durable',
    platforms: [],
    exceptDevices: [],
    devices: [],
    app: '',
    receipts: true,
    offlineAfterMs: -1,
    replaces: '',
    roomId: '',
    ...fields,
  }
}

function queued ({ messageId, userIds }: DownlinkCommand) {
  return { messageId, users: userIds.map(userId => ({ userId, status: 'queued' as const })) }
}

async function given (t: Test) {
  const directory = t.testdir()
  let store = await openStore({ directory, headroomBytes: 1 << 16 })
  t.teardown(() => store.close())
  return {
    log: embeddedLog(store, { partitions: 1 }),
    async reopen () {
      await store.close()
      store = await openStore({ directory, headroomBytes: 1 << 16 })
      return embeddedLog(store, { partitions: 1 })
    },
  }
}

type Push = DownlinkSenderDeps['push']
type Post = (command: PostCommand) => Promise<void>

const noPost: Post = async ({ messageId }) => { throw new Error(`${messageId} names no room`) }

/** What is sent in order, one after the other as far as each succeeds; `atOnce` gets what came together. */
function inOrder<T extends { readonly messageId: string }> (send: (command: T) => Promise<void>, atOnce: string[]) {
  return async (commands: readonly T[]): Promise<number> => {
    atOnce.push(commands.map(({ messageId }) => messageId).join(' '))
    for (const [i, command] of commands.entries()) {
      try {
        await send(command)
      } catch (err) {
        if (i === 0) throw err
        return i
      }
    }
    return commands.length
  }
}

/** As the ledger does where it takes none. */
async function pushOne (push: Push, command: DownlinkCommand): Promise<void> {
  const { users } = await push(command)
  if (users.some(({ status }) => status === 'rejected')) throw new GatewayError('ledger-unavailable')
}

async function follow (t: Test, log: EventLog, push: Push, post = noPost) {
  const atOnce: string[] = []
  const lasting = new Set<string>()
  const counted: string[] = []
  const health: Health = {
    begin: (name, _reason, what) => { lasting.add(`${name} ${what}`) },
    end: (name, what) => { lasting.delete(`${name} ${what}`) },
  }
  const following = await followDownlinks({
    log,
    push,
    pushInOrder: inOrder(command => pushOne(push, command), atOnce),
    postInOrder: inOrder(post, atOnce),
    hasApp: app => app === '' || app === 'shop',
    frameBytesMax: 512,
    health,
    rejected: code => { counted.push(code) },
  })
  return Object.assign(following, { lasting, atOnce, counted })
}

async function rejected (log: EventLog, count: number) {
  const found: Array<{ userId: string, code: string, reason: string, command: Uint8Array }> = []
  await until(async () => {
    found.length = 0
    for await (const { items } of log.read(downlinksRejected, 0, { from: 0n })) found.push(...items)
    return found.length >= count
  })
  return found
}
