import t from 'tap'
import { localLinks, type Question } from '../../actors/links.js'
import { Push } from '../../gateway/push.js'
import type { Entry } from '../../schemas/facts.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { ledger } from '../../schemas/streams.js'
import { given, until } from '../actors/given.js'
import { startOwner } from '../../actors/owner.js'
import { MemoryTables } from '../projections/memory-tables.js'

const command: DownlinkCommand = {
  messageId: 'm1',
  userIds: ['ann'],
  service: '',
  payload: Buffer.from('hello'),
  ttlMs: 60_000,
  delivery: 'durable',
  platforms: [],
  exceptDevices: [],
  devices: [],
  app: '',
  receipts: true,
  offlineAfterMs: -1,
  replaces: '',
}

t.test('A push whose message id was had before', async t => {
  const world = await given(t, t.testdir())
  const links = localLinks()
  const users = await startOwner(world.log, { ...world.deps, links })
  const questions: Question[] = []
  links.users = question => {
    questions.push(question)
    users.ask(question)
  }
  const push = new Push({ log: world.log, tables: new MemoryTables(), links, nodeId: 'n1', outboxBytesMax: () => 1 << 20, receipts: false, offlineAfterMs: undefined })
  const entries = async () => {
    const found: Entry[] = []
    for await (const { items } of world.log.read(ledger, 0, { from: 0n })) found.push(...items)
    return found.length
  }

  await t.test('is told so, user by user, and nothing is queued', async t => {
    t.match((await push.push(command, true)).users, [{ userId: 'ann', status: 'queued', position: '0@0.0' }])
    t.strictSame((await push.push({ ...command, userIds: ['bob', 'ann'] }, true)).users,
      [{ userId: 'bob', status: 'queued', position: '0@1.0' }, { userId: 'ann', status: 'duplicate' }])
    t.strictSame((await push.push({ ...command, payload: Buffer.from('other') }, true)).users,
      [{ userId: 'ann', status: 'conflict' }])
    t.strictSame((await push.push({ ...command, service: 'chat' }, true)).users, [{ userId: 'ann', status: 'conflict' }])
    t.equal(await entries(), 2)
  })
  await t.test('asks nobody where the id was drawn, or it is a signal', async t => {
    const before = questions.length
    t.match((await push.push({ ...command, messageId: 'm2' })).users, [{ status: 'queued' }])
    t.match((await push.push({ ...command, delivery: 'signal' }, true)).users, [{ status: 'offline' }])
    t.equal(questions.length, before)
  })
  await t.test('is told so though the owner of the partition is behind', async t => {
    await push.push({ ...command, messageId: 'm3' })
    const late: Question[] = []
    links.users = question => { late.push(question) }
    const answer = push.push({ ...command, messageId: 'm3' }, true)
    await until(() => late.length === 1)
    const question = late[0]!
    t.ok(question.type === 'askRequest' && question.asOf === 4n)
    users.ask({ ...question, asOf: 5n } as Question)
    await world.log.append(ledger, 0, [{ userId: 'cleo', atMs: 1, fact: { type: 'UplinksRefused', connectionId: 'c', fromSeq: 1, toSeq: 1, code: 'gap', count: 1 } }])
    t.match((await answer).users, [{ status: 'duplicate' }])
  })
  await t.test('is queued where nobody answers in time, and sent once all the same', async t => {
    links.users = () => {}
    t.match((await push.push({ ...command, messageId: 'm3' }, true)).users, [{ status: 'queued' }])
  })
  await users.stop()
})
