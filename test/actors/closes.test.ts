import t from 'tap'
import { UnconfirmedCloses } from '../../actors/closes.js'
import { localLinks } from '../../actors/links.js'
import type { CloseConnection } from '../../actors/user/effects.js'
import { savedIn, toSave } from '../../actors/user/saved-partition.js'
import { closed } from '../projections/given.js'

t.test('closes that their edge has not confirmed', async t => {
  const close = (connectionId: string, reason = ''): CloseConnection =>
    ({ type: 'closeConnection', nodeId: 'n1', connectionId, code: 'kicked', reason, by: '' })
  const given = (closes: readonly CloseConnection[] = []) => {
    const links = localLinks()
    const told: string[] = []
    links.connections = ({ connectionId }) => told.push(connectionId) > 0
    return { told, closes: new UnconfirmedCloses(links, closes) }
  }

  t.test('are told until the ledger has their end, by the next owner too', async t => {
    const { closes, told } = given()
    closes.toConnection(close('c1'))
    closes.toConnection(close('c2'))
    closes.repeat(Date.now() + 2_000)
    t.strictSame(told, ['c1', 'c2', 'c1', 'c2'])
    closes.received([closed('ann', 'c1')])
    const next = given(savedIn(toSave({ closes: closes.all, dueFrom: 7n, unwritten: [] })).closes)
    next.closes.repeat(Date.now() + 2_000)
    t.strictSame(next.told, ['c2'])
  })

  t.test('are told a moment later where they may turn out to be wrong, and then what is right', async t => {
    const { closes, told } = given()
    const doubtful = (connectionId: string): CloseConnection => ({ ...close(connectionId), isDoubtful: true })
    for (const connectionId of ['c1', 'c2']) closes.toConnection(doubtful(connectionId))
    closes.toConnection(close('c2'))
    t.strictSame(told, [], 'not while it is in doubt, though its edge asks')
    closes.toConnection({ ...close('c1'), code: 'internal' })
    t.strictSame(told, ['c1'])
    closes.repeat(Date.now() + 700)
    t.strictSame(told, ['c1', 'c2'])
    closes.repeat(Date.now() + 1_800)
    t.strictSame(told, ['c1', 'c2', 'c2', 'c1'])
    closes.toConnection(doubtful('c3'))
    const next = given(savedIn(toSave({ closes: closes.all, dueFrom: 7n, unwritten: [] })).closes)
    next.closes.repeat(Date.now() + 100)
    t.strictSame(next.told, ['c1'], 'the next owner waits for it, too')
    next.closes.repeat(Date.now() + 700)
    t.strictSame(next.told, ['c1', 'c2', 'c3'])
  })

  t.test('are remembered up to a MiB of them, and told once past it', async t => {
    const { closes, told } = given()
    const reason = 'r'.repeat(10_000)
    for (let i = 0; i < 300; i++) closes.toConnection(close(`c${i}`, reason))
    t.equal(told.length, 300, 'all are told')
    t.ok(closes.size > 90 && closes.size < 105, `${closes.size} are told again`)
    t.ok(toSave({ closes: closes.all, dueFrom: undefined, unwritten: [] }).length <= 1 << 20, 'and saved together')
    closes.received(Array.from({ length: 300 }, (_, i) => closed('ann', `c${i}`)))
    t.equal(closes.size, 0)
    closes.toConnection(close('late', reason))
    t.equal(closes.size, 1, 'and there is room again')
  })

  t.test('are bounded by who asked, too', async t => {
    const { closes } = given()
    for (let i = 0; i < 300; i++) closes.toConnection({ ...close(`c${i}`), by: 'k'.repeat(10_000) })
    t.ok(closes.size > 90 && closes.size < 105, `${closes.size} are told again`)
    t.ok(toSave({ closes: closes.all, dueFrom: undefined, unwritten: [] }).length <= 1 << 20)
  })

  t.test('say who asked, until their edge seems to be one that can not read that', async t => {
    const links = localLinks()
    const told: string[] = []
    links.connections = message => message.type === 'closeConnection' && told.push(message.by) > 0
    const closes = new UnconfirmedCloses(links, [])
    const nowMs = Date.now()
    closes.toConnection({ ...close('c1'), by: 'key1' })
    for (const afterMs of [1_500, 3_000, 4_500]) closes.repeat(nowMs + afterMs)
    t.strictSame(told, ['key1', 'key1', 'key1', ''])
    t.match(closes.all, [{ by: 'key1' }], 'and the next owner knows')
  })
})

t.test('What a partition has saved', async t => {
  const close: CloseConnection = { type: 'closeConnection', nodeId: 'n1', connectionId: 'c1', code: 'kicked', reason: '', by: 'k1' }
  t.test('reads back', async t => {
    const unwritten = [{ userId: 'ann', nodeId: 'n1', connectionId: 'c2', seq: 3 }]
    const saved = { closes: [close], dueFrom: 2n ** 50n, unwritten }
    t.strictSame(savedIn(toSave(saved)), saved)
  })
  t.test('was a list of closes in an earlier version', async t => {
    t.strictSame(savedIn(Buffer.from(JSON.stringify([close]))), { closes: [close], dueFrom: undefined, unwritten: [] })
  })
  t.test('is nothing where somebody else has written it', async t => {
    for (const text of ['', 'x', '7', 'null', '{"closes":1,"dueFrom":"-1","unwritten":1}', '{"unwritten":[1,null,{"seq":1}]}']) {
      t.strictSame(savedIn(Buffer.from(text)), { closes: [], dueFrom: undefined, unwritten: [] }, text)
    }
  })
})
