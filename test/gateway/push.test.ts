import t from 'tap'
import { type ConnectionMessage, localLinks, type SharedSignal } from '../../actors/links.js'
import { Push } from '../../gateway/push.js'
import { routing } from '../../projections/routing.js'
import type { Entry } from '../../schemas/facts.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { until } from '../faults/node-process.js'
import { closed, opened } from '../projections/given.js'
import { MemoryLog } from '../projections/memory-log.js'
import { MemoryTables } from '../projections/memory-tables.js'

t.test('A signal that its node could not hand on', async t => {
  t.test('goes to the connection that has taken the place of the one it was for', async t => {
    const { push, links, sent, write } = given()
    await write(opened('ann', 'c1', { nodeId: 'n1' }), opened('ann', 'c2', { nodeId: 'n2' }))
    t.match(await push.push(signal), { users: [{ status: 'sent' }] })
    t.strictSame(sent.map(whither), ['c1 at n1', 'c2 at n2'])
    await write(closed('ann', 'c1'), opened('ann', 'c3', { nodeId: 'n2' }))
    links.notHere({ type: 'notHere', nodeId: 'n1', connectionId: 'c1', signal: signalOf(sent) })
    await until(() => sent.length > 2)
    t.strictSame(sent.slice(2).map(whither), ['c3 at n2'], 'and to no other again')
    t.equal(signalOf(sent.slice(2)), signalOf(sent), 'as the very object, which is encoded once')
  })

  t.test('is looked for once more and no further', async t => {
    const { push, links, sent, write } = given()
    await write(opened('ann', 'c1', { nodeId: 'n1' }))
    await push.push(signal)
    links.notHere({ type: 'notHere', nodeId: 'n1', connectionId: 'c1', signal: signalOf(sent) })
    links.notHere({ type: 'notHere', nodeId: 'n1', connectionId: 'nobody', signal: signalOf(sent) })
    await new Promise(resolve => setTimeout(resolve, 700))
    t.equal(sent.length, 1)
  })
})

const signal: DownlinkCommand = {
  messageId: 'm1',
  userIds: ['ann'],
  service: '',
  payload: Buffer.from('hello'),
  ttlMs: 1,
  delivery: 'signal',
  platforms: [],
  exceptDevices: [],
  devices: [],
}

function given () {
  const tables = new MemoryTables()
  const links = localLinks()
  const sent: ConnectionMessage[] = []
  links.connections = message => sent.push(message) > 0
  const push = new Push({ log: new MemoryLog<Entry>(), tables, links, nodeId: 'n1' })
  let next = 0n
  return {
    push,
    links,
    sent,
    /** What the routing projection makes of these. */
    async write (...entries: Entry[]) {
      const writes = entries.flatMap(entry => [...routing.project(entry)])
      await tables.apply('routing', 0, writes, { next: ++next, atMs: 1 })
    },
  }
}

t.test('A signal for some devices goes to those alone', async t => {
  const { push, sent, write } = given()
  await write(opened('ann', 'c1', { deviceId: 'phone' }), opened('ann', 'c2', { deviceId: 'pad' }))
  t.match(await push.push({ ...signal, devices: ['pad'] }), { users: [{ status: 'sent' }] })
  t.match(await push.push({ ...signal, devices: ['tv'] }), { users: [{ status: 'offline' }] })
  t.strictSame(sent.map(({ connectionId }) => connectionId), ['c2'])
})

function whither ({ connectionId, nodeId }: ConnectionMessage): string { return `${connectionId} at ${nodeId}` }

function signalOf ([message]: readonly ConnectionMessage[]): SharedSignal {
  if (message?.type !== 'signal') throw new Error('no signal was sent')
  return message.signal
}
