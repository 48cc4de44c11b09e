import t from 'tap'
import { newUser } from '../../../actors/user/state.js'
import { inShort, of } from '../given.js'
import { closed, opened, reported, requested, uplink } from './history.js'
import { givenUser } from './given-user.js'

const large = (messageId: string, fill: number) => requested(messageId, { payload: Buffer.alloc(5_000, fill) })
const question = {
  type: 'resync', userId: 'ann', partition: 0, nodeId: 'n1', connectionId: 'c2', bytesMax: 1_000_000, welcomed: true, uplinkSeq: 0,
} as const

/** A user with two large downlinks and a small one between them, all in the store and none in memory. */
async function resting (t: Parameters<typeof givenUser>[0]) {
  const first = givenUser(t)
  await first.fold(opened('c1'), closed('c1'), large('m1', 1), requested('m2'), large('m3', 3))
  return await first.save()
}

t.test('Large payloads that are in the store', async t => {
  t.test('are read when they are sent, and what comes later is sent later', async t => {
    const saved = await resting(t)
    const payloads: number[] = []
    const sent: string[] = []
    const links = {
      toConnection (message: any) {
        sent.push(inShort(message))
        if (message.type === 'deliver') payloads.push(message.downlink.payload[0])
      },
      mayLose: () => false,
      toUser: () => {},
      toRoom: () => {},
      toMembers: () => {},
      toReaders: () => {},
      toTracer: () => {},
      toAsker: () => {},
    }
    const user = givenUser(t, { saved, deps: { links, resumeBytesMax: 1_000_000 } })
    user.offset = 1n
    await user.fold(opened('c2'), large('m4', 4), uplink('c2', 1))
    t.strictSame(sent, [
      'welcome c2 up 0 down 0..3', 'deliver c2 1 m1', 'deliver c2 2 m2', 'deliver c2 3 m3', 'deliver c2 4 m4', 'ack c2 1=1',
    ])
    t.strictSame(payloads, [1, 'm'.charCodeAt(0), 3, 4])
    sent.length = 0
    await user.tell({ ...question, uplinkSeq: 1, downlinkSeq: 2 })
    t.strictSame(sent, ['deliver c2 3 m3', 'deliver c2 4 m4'], 'and for whoever asks again')
  })
  t.test('are not read for a push to somebody who is away', async t => {
    const saved = await resting(t)
    const user = givenUser(t, { saved, deps: { parts: async () => { throw new Error('nobody asked for them') } } })
    user.offset = 1n
    await user.fold(requested('m4'))
    t.strictSame(user.waits, [])
    await user.save()
    t.strictSame([...saved.written.keys()], ['m4', 'r0'])
  })
  t.test('hold the user up while the store is away', async t => {
    const saved = await resting(t)
    let away = 2
    const parts = async (_userId: string, ids: readonly string[]) => {
      if (away-- > 0) throw new Error('away')
      return new Map(ids.map(id => [id, saved.parts.get(id)!]))
    }
    const user = givenUser(t, { saved, deps: { parts, resumeBytesMax: 1_000_000 } })
    user.offset = 1n
    await user.fold(opened('c2'), uplink('c2', 1))
    t.strictSame(user.waits, ['away', 'away', 'over'])
    t.strictSame(user.sent.slice(-2), ['deliver c2 3 m3', 'ack c2 1=1'])
  })
  t.test('end the connection that was to have them where they are gone, and nothing else is lost', async t => {
    const saved = await resting(t)
    saved.parts.delete('p3')
    const user = givenUser(t, { saved, deps: { resumeBytesMax: 1_000_000 } })
    user.offset = 1n
    await user.fold(opened('c2'), uplink('c2', 1), requested('m4'))
    t.strictSame(user.unreadable, ['part p3 of the saved state is missing'])
    t.ok(user.sent.includes('close c2 internal'))
    t.strictSame([user.aside, user.crashed, user.setAside], [[], [], []])
    const again = givenUser(t, { saved: await user.save() })
    again.offset = user.offset
    await again.fold(closed('c2'), opened('c3', { deviceId: 'pad' }), uplink('c3', 1))
    t.strictSame(again.published, ['1=2'], 'the number of the uplink before is not given out again')
    t.ok([...(await again.state()).messages].some(({ messageId }) => messageId === 'm4'))
  })
  t.test('are not sent where an owner who is ahead has removed them, for an entry still to come acks them', async t => {
    const saved = await resting(t)
    const ahead = givenUser(t, { saved })
    ahead.offset = 1n
    await ahead.fold(opened('c2'), reported('c2', 3))
    const stored = (_userId: string, ids: readonly string[]) =>
      Promise.resolve(new Map(ids.flatMap(id => saved.parts.has(id) ? [[id, saved.parts.get(id)!]] : [])))
    const behind = givenUser(t, {
      saved: await resting(t),
      deps: {
        resumeBytesMax: 1_000_000,
        load: async () => saved.loaded(),
        parts: stored,
      }
    })
    await behind.tell({
      type: 'askRequest', userId: 'ann', partition: 0, nodeId: 'n1', askId: 1, messageId: 'm9', content: 1, asOf: 0n,
    })
    await ahead.save()
    behind.offset = 1n
    await behind.fold(opened('c2'))
    t.strictSame(behind.sent, ['welcome c2 up 0 down 0..3'])
    t.strictSame([behind.aside, behind.unreadable], [[], []])
    await behind.fold(reported('c2', 3), uplink('c2', 1))
    t.strictSame(behind.published, ['1=1'])
  })
  t.test('of a partition that ended meanwhile set no entry aside', async t => {
    const saved = await resting(t)
    const parts = async () => { throw new Error('away') }
    const user = givenUser(t, { saved, deps: { parts, ended: () => true } })
    await user.tell({ type: 'entries', block: user.block(1n), entries: of('ann', opened('c2')) })
    t.strictSame([user.setAside, user.aside, user.crashed], [[], [], []])
  })
})

t.test('A message to nobody leaves nothing', async t => {
  const user = givenUser(t, { state: newUser() })
  await user.fold(opened('c1'), requested('m1', { devices: ['another'] }))
  t.equal((await user.state()).messages.size, 0)
})
