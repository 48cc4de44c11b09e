import t from 'tap'
import { merged } from '../../../actors/checkpointer.js'
import type { ConnectionMessage } from '../../../actors/links.js'
import type { StateChanges } from '../../../actors/snapshots.js'
import { newUser } from '../../../actors/user/state.js'
import type { Fact } from '../../../schemas/facts.js'
import { of, poison } from '../given.js'
import { closed, granted, opened, reported, requested, revoked, uplink } from './history.js'
import { givenUser, type GivenUser, storeOf } from './given-user.js'
import { SavedParts } from './saved-parts.js'

t.test('A user actor', async t => {
  t.test('begins from its snapshot', async t => {
    const first = givenUser(t)
    await first.fold(opened('c1'), uplink('c1', 1), uplink('c1', 2))
    const second = givenUser(t, { saved: await first.save() })
    second.offset = first.offset
    await second.fold(uplink('c1', 3))
    t.strictSame(second.published, ['3=3'])
    t.strictSame(second.sent, ['ack c1 3=3'])
  })
  t.test('skips blocks that its snapshot includes', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1'), uplink('c1', 1))
    await user.tell({ type: 'entries', block: user.block(0n), entries: of('ann', uplink('c1', 1)) })
    t.strictSame(user.sent, ['welcome c1 up 0 down 0..0', 'ack c1 1=1'])
  })
  t.test('answers uplinks of one block with one ack', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1'), uplink('c1', 1), uplink('c1', 2), uplink('c1', 3))
    t.strictSame(user.sent, ['welcome c1 up 0 down 0..0', 'ack c1 3=1,2,3'])
  })
  t.test('sends what a returning client misses behind its welcome', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1'), closed('c1'), requested('m1'), requested('m2'), opened('c2'))
    t.strictSame(user.sent.slice(1), ['welcome c2 up 0 down 0..2', 'deliver c2 1 m1', 'deliver c2 2 m2'])
  })
})

t.test('An entry that can not be folded', async t => {
  t.test('gets a second chance from the state before it', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1'))
    await user.fold(uplink('c1', 1), poison('c1', 2, 1), uplink('c1', 3))
    t.strictSame(user.published, ['1=1', '2=2', '3=3'])
    t.strictSame(user.failed, ['poison'])
    t.strictSame(user.setAside, [])
  })
  t.test('is set aside when it fails again, and those behind it are folded once', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1'), uplink('c1', 1))
    await user.fold(uplink('c1', 2), poison('c1', 3), uplink('c1', 3), poison('c1', 4), uplink('c1', 4))
    await user.fold(uplink('c1', 5))
    t.strictSame(user.setAside, ['poison', 'poison'])
    t.strictSame(user.published, ['1=1', '2=2', '3=3', '4=4', '5=5'])
    t.equal((await user.state()).userSeq, 5)
  })
  t.test('does not come back when a later one makes the state be built anew', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1'), poison('c1', 1), uplink('c1', 1))
    await user.fold(uplink('c1', 2), poison('c1', 3, 1))
    t.strictSame(user.setAside, ['poison'])
    t.strictSame(user.published, ['1=1', '2=2', '3=3'])
  })
})

t.test('A state that can not be used', async t => {
  const unreadable = { saved: storeOf(Buffer.from('this was never a state')) }
  t.test('sets its user aside where it can not be read: nothing waits for it, and what is saved stays', async t => {
    const user = givenUser(t, unreadable)
    await user.fold(opened('c1'), uplink('c1', 1))
    await user.fold(requested('m1'))
    t.strictSame(user.aside, ['does not start with an Avro single-object header'])
    t.strictSame(user.sent, ['close c1 internal'], 'and its client is told')
    t.equal(await user.savedAs(), 'asItIs')
  })
  t.test('sets its user aside where it can not be written, twice; the next owner finds that, not an older state', async t => {
    const user = givenUser(t, { state: { ...newUser(), userSeq: 2 ** 53 } })
    t.equal(await user.savedAs(), undefined, 'it is tried again first')
    const mark = await user.savedAs() as StateChanges
    t.match(mark.head, Buffer)
    t.equal(user.aside.length, 1)
    const next = givenUser(t, { saved: storeOf(mark.head!) })
    await next.fold(opened('c1'))
    t.match(next.aside, [/^This state could not be saved: /])
    t.equal(await next.savedAs(), 'asItIs')
  })
})

t.test('A snapshot that can not be loaded for a while', async t => {
  t.test('holds the entries back, and none is lost', async t => {
    let attempts = 0
    const user = givenUser(t, {
      deps: {
        async load () {
          if (++attempts <= 2) throw new Error('away')
          return undefined
        },
      },
    })
    await user.fold(opened('c1'), uplink('c1', 1))
    t.strictSame(user.waits, ['away', 'away', 'over'])
    t.strictSame(user.crashed, [])
    t.strictSame(user.published, ['1=1'])
    t.strictSame(user.sent, ['welcome c1 up 0 down 0..0', 'ack c1 1=1'])
  })
  t.test('holds back the second chance of an entry as well', async t => {
    let away = 2
    const user: GivenUser = givenUser(t, {
      deps: {
        async load () {
          if (user.failed.length > 0 && away-- > 0) throw new Error('away')
          return undefined
        },
      },
    })
    await user.fold(opened('c1'), uplink('c1', 1), poison('c1', 2, 1), uplink('c1', 3))
    t.strictSame(user.waits, ['away', 'away', 'over'])
    t.strictSame(user.crashed, [])
    t.strictSame(user.published, ['1=1', '2=2', '3=3'])
  })
})

t.test('A snapshot that is asked for', async t => {
  t.test('of a state that was rebuilt takes back what was given before, and has ended', async t => {
    const user = givenUser(t)
    const large = { ...requested('m1'), payload: Buffer.alloc(2_000) } as Fact
    await user.fold(opened('c1'), large)
    const kept = await user.savedAs() as StateChanges
    t.ok(kept.added.has('p1'))
    await user.fold(reported('c1', 1), poison('c1', 1, 1))
    t.equal(user.failed.length, 1)
    const saved = new SavedParts()
    saved.save(merged(kept, await user.savedAs() as StateChanges))
    t.strictSame([...saved.parts.keys()].sort(), ['c1', 'r0', 's1'])
    t.strictSame(saved.strays(), [])
    await user.fold(requested('m2'))
    t.strictSame((await user.savedAs() as StateChanges).gone, [], 'once')
  })
  t.test('is refused, and the actor lives on, where the state can not be encoded', async t => {
    const user = givenUser(t)
    await user.fold(opened('c1', { downlinkSeq: Number.MAX_SAFE_INTEGER }))
    t.equal(await user.savedAs(), undefined)
    t.equal(user.crashed.length, 1)
    await user.fold(uplink('c1', 1))
    t.strictSame(user.published, ['1=1'])
  })
})

t.test('A resync', async t => {
  const question = {
    type: 'resync', userId: 'ann', partition: 0, nodeId: 'n1', connectionId: 'c1', bytesMax: 1_000, welcomed: true,
  } as const
  const history = [opened('c1'), uplink('c1', 1), uplink('c1', 2), requested('m1'), requested('m2')]

  t.test('brings the welcome and all downlinks to a connection without one', async t => {
    const user = givenUser(t)
    await user.fold(...history)
    user.sent.length = 0
    await user.tell({ ...question, welcomed: false, uplinkSeq: 0, downlinkSeq: 0 })
    t.strictSame(user.sent, ['welcome c1 up 2 down 0..2', 'deliver c1 1 m1', 'deliver c1 2 m2'])
  })
  t.test('says whether the session began with this connection, also after the state was saved', async t => {
    const welcomes: boolean[] = []
    const links = {
      toConnection (message: ConnectionMessage) { if (message.type === 'welcome') welcomes.push(message.resumed) },
      mayLose: () => false,
      toUser: () => {},
      toRoom: () => {},
      toMembers: () => {},
      toReaders: () => {},
      toTracer: () => {},
      toAsker: () => {},
    }
    const ask = async (user: GivenUser, connectionId: string) =>
      await user.tell({ ...question, connectionId, welcomed: false, uplinkSeq: 0, downlinkSeq: 0 })
    const user = givenUser(t, { deps: { links } })
    await user.fold(opened('c1'))
    await ask(user, 'c1')
    await ask(givenUser(t, { deps: { links }, state: await user.state() }), 'c1')
    t.strictSame(welcomes.splice(0), [false, false, false])
    await user.fold(closed('c1'), opened('c2'))
    await ask(user, 'c2')
    t.strictSame(welcomes, [true, true])
  })
  t.test('brings the rooms that business has the user in, behind a welcome and whenever it asks', async t => {
    const user = givenUser(t)
    await user.fold(granted('g1', 'chat'), opened('c1'), opened('c2', { deviceId: 'pad' }))
    t.strictSame(user.sent.splice(0).filter(sent => sent.endsWith('c2')), ['memberships c2'])
    await user.tell({ ...question, welcomed: false, uplinkSeq: 0, downlinkSeq: 0 })
    t.strictSame(user.sent.splice(0), ['welcome c1 up 0 down 0..0', 'memberships c1'])
    await user.tell({ ...question, uplinkSeq: 0, downlinkSeq: 0 })
    t.strictSame(user.sent.splice(0), ['memberships c1'])
    await user.fold(granted('g2', 'a'), granted('g3', 'b'), revoked('g4', 'a'))
    t.strictSame(user.sent.splice(0), ['memberships c1', 'memberships c2'], 'once, whatever came in one block')
    await user.fold(revoked('g5', 'b'), revoked('g6', 'chat'))
    user.sent.length = 0
    await user.tell({ ...question, uplinkSeq: 0, downlinkSeq: 0 })
    t.strictSame(user.sent.splice(0), ['memberships c1'], 'also that there are none any more')
  })
  t.test('brings acks and downlinks above what the connection has', async t => {
    const user = givenUser(t)
    await user.fold(...history)
    user.sent.length = 0
    await user.tell({ ...question, uplinkSeq: 1, downlinkSeq: 1 })
    t.strictSame(user.sent, ['ack c1 2=2', 'deliver c1 2 m2'])
  })
  t.test('brings at least one downlink and no more bytes than asked for', async t => {
    const user = givenUser(t)
    await user.fold(...history)
    user.sent.length = 0
    await user.tell({ ...question, uplinkSeq: 2, downlinkSeq: 0, bytesMax: 1 })
    t.strictSame(user.sent, ['deliver c1 1 m1'])
  })
  t.test('says so where the next downlink is gone', async t => {
    const user = givenUser(t)
    await user.fold(...history)
    const state = await user.state()
    state.sessions.get('phone')!.outbox.shift()
    state.sessions.get('phone')!.numbered--
    const other = givenUser(t, { state })
    await other.tell({ ...question, uplinkSeq: 2, downlinkSeq: 0 })
    t.strictSame(other.sent, ['gone c1'])
  })
  t.test('of a connection that is not the current one is told that it has ended', async t => {
    const user = givenUser(t)
    await user.fold(...history, opened('c2'))
    user.sent.length = 0
    await user.tell({ ...question, uplinkSeq: 0, downlinkSeq: 0 })
    t.strictSame(user.sent, ['close c1 superseded'])
  })
  t.test('of a connection whose close was lost is told why, whatever came since, and also by the next owner', async t => {
    const kick: Fact = { type: 'KickRequested', requestId: 'k1', connectionId: 'c1', reason: 'left the company', by: '' }
    const told: string[] = []
    const links = {
      toConnection (message: ConnectionMessage) {
        if (message.type === 'closeConnection') told.push(`${message.connectionId} ${message.code} ${message.reason}`)
      },
      mayLose: () => false,
      toUser: () => {},
      toRoom: () => {},
      toMembers: () => {},
      toReaders: () => {},
      toTracer: () => {},
      toAsker: () => {},
    }
    const first = givenUser(t, { deps: { links } })
    await first.fold(opened('c1'), kick, opened('c2'))
    await first.tell({ ...question, uplinkSeq: 0, downlinkSeq: 0 })
    const next = givenUser(t, { deps: { links }, saved: await first.save() })
    await next.tell({ ...question, uplinkSeq: 0, downlinkSeq: 0 })
    t.strictSame(told, Array.from({ length: 3 }, () => 'c1 kicked left the company'))
  })
  t.test('changes nothing', async t => {
    const user = givenUser(t)
    await user.fold(...history)
    await user.save()
    await user.tell({ ...question, welcomed: false, uplinkSeq: 0, downlinkSeq: 0 })
    const { added, changed, gone } = await user.savedAs() as StateChanges
    t.strictSame([added.size, changed.size, gone.length], [0, 0, 0])
  })
})
