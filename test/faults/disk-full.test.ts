import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { auditOfDirectory } from './audit.js'
import { BusyClient } from './busy-client.js'
import { type NodeProcess, readUplinks, request, startProcess, tokenFor, until } from './node-process.js'
import { cannotMount, mounted } from './small-disk.js'

const mib = 1 << 20

t.test('A disk that fills up under a running node', { skip: cannotMount }, async t => {
  const directory = mounted(t, 'size=16m')
  const ballast = join(directory, 'lost+found')
  writeFileSync(ballast, Buffer.alloc(8 * mib))
  const leaseMs = 3_000
  const node = await startProcess(t, directory, { LEDGERLINE_LEASE_MS: `${leaseMs}` })
  const own = async () => (await request(node, '/v1/nodes')).body.nodes
    .find(({ nodeId }: { nodeId: string }) => nodeId === node.nodeId)
  const { epoch } = await own()
  const clients = (['tcp', 'ws'] as const).map(transport =>
    new BusyClient({ userId: 'ann', deviceId: transport, transport, outstanding: 4 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  for (const client of clients) await client.open(node)
  await until(() => clients.every(({ acked }) => acked.size > 20))

  const queued: string[] = []
  let pushed = 0
  const push = async () => {
    const messageId = `m${pushed++}`
    const answer = await pushTo(node, 'ann', messageId, pushed)
    if (answer.status === 202) queued.push(messageId)
    return answer
  }

  await t.test('refuses downlinks with 503 and a code', async t => {
    let refused
    while (!refused) {
      const answer = await push()
      if (answer.status !== 202) refused = answer
    }
    t.equal(refused.status, 503)
    t.match(refused.body, { code: 'ledger-unavailable' })
  })
  await t.test('refuses uplinks with a wait, and the connections stay', async t => {
    const before = clients.map(({ refusals }) => refusals.length)
    await until(async () => {
      await push()
      return clients.every(({ refusals }, i) => refusals.length > before[i]! + 1)
    })
    for (const { refusals, connections, isOpen } of clients) {
      t.ok(refusals.every(({ code, retryAfterMs }) => code === 'ledger-unavailable' && retryAfterMs > 0))
      t.ok(isOpen)
      t.equal(connections, 1)
    }
  })
  await t.test('shows in readiness and not in liveness', async t => {
    // What is small may still find room, and then all is well for the moment.
    let ready
    do {
      await push()
      ready = await request(node, '/readyz')
    } while (ready.status === 200)
    t.match(ready, { status: 503, text: /can not be written/ })
    t.equal((await request(node, '/healthz')).status, 200)
  })
  await t.test('leaves the node in its lease, and in the log is why it refuses', async t => {
    const fromMs = Date.now()
    await until(async () => {
      await push()
      return Date.now() - fromMs > 2 * leaseMs
    }, 50)
    t.match(await own(), { epoch, state: 'up', alive: true })
    t.ok(node.lines.some(({ level, reason }) => level >= 40 && /disk is full/.test(reason)))
  })
  await t.test('takes up everything again when there is space', async t => {
    const before = clients.map(({ acked }) => acked.size)
    rmSync(ballast)
    await until(() => clients.every(({ acked }, i) => acked.size > before[i]! + 20))
    await until(async () => (await request(node, '/readyz')).status === 200)
    await until(async () => (await push()).status === 202)
  })
  await t.test('has lost nothing that was acked or queued, and doubled nothing', async t => {
    await finished(clients, queued)
    await checkUplinks(t, node, clients)
    for (const { seen, complaints, connections } of clients) {
      t.strictSame(seen.map(({ messageId }) => messageId), queued)
      t.strictSame(complaints, [])
      t.equal(connections, 1)
    }
  })
  await t.test('leaves a directory that the next node goes on with', async t => {
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
    const next = await startProcess(t, directory)
    const ann = clients[0]!
    await ann.open(next)
    ann.busy = true
    const acked = ann.acked.size
    await until(() => ann.acked.size > acked)
    ann.busy = false
    await until(() => ann.unacked === 0)
    await checkUplinks(t, next, clients)
    t.strictSame(ann.complaints, [])
    await next.kill('SIGTERM')
    await auditOfDirectory(t, directory)
  })
})

t.test('A disk that pushes of large payloads to many users have filled', { skip: cannotMount }, async t => {
  const userIds = Array.from({ length: 20 }, (_, i) => `u${i}`)
  const push = async (node: NodeProcess, messageId: string) =>
    (await request(node, '/v1/downlinks', { to: { userIds }, messageId, payload: 'x'.repeat(60_000) })).status
  const filled = async (t: Test) => {
    const directory = mounted(t, 'size=24m')
    const node = await startProcess(t, directory)
    for (let i = 0; await push(node, `m${i}`) !== 503;) i++
    await until(async () => (await request(node, '/readyz')).status === 503)
    return { directory, node }
  }
  await t.test('has a node on it that is ready again when there is room, and says at once that it stops', async t => {
    const { directory, node } = await filled(t)
    execFileSync('mount', ['-o', 'remount,size=120m', directory])
    await until(async () => (await request(node, '/readyz')).status === 200)
    t.equal(await push(node, 'again'), 202)
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
  })
  await t.test('lets its node stop, and the next one, given room, has it all', async t => {
    const { directory, node } = await filled(t)
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
    execFileSync('mount', ['-o', 'remount,size=120m', directory])
    const next = await startProcess(t, directory)
    t.equal(await push(next, 'again'), 202)
    t.strictSame(await next.kill('SIGTERM'), { code: 0, signal: null })
    await auditOfDirectory(t, directory)
  })
})

for (const when of ['at once', 'after states were to be saved']) {
  t.test(`A disk that unacked downlinks have filled, which are acked ${when},`, { skip: cannotMount }, async t => {
    await healsByAcks(t, when !== 'at once')
  })
}

async function healsByAcks (t: Test, late: boolean): Promise<void> {
  const directory = mounted(t, 'size=28m')
  const node = await startProcess(t, directory)
  const clients = await Promise.all(Array.from({ length: 6 }, (_, i) => openWithoutAcks(t, node, `u${i}`)))
  const userIds = clients.map(({ userId }) => userId)
  const push = async (messageId: string, length: number) =>
    (await request(node, '/v1/downlinks', { to: { userIds }, messageId, payload: 'x'.repeat(length) })).status
  for (let i = 0; await push(`m${i}`, 50_000) !== 503;) i++
  await until(async () => (await request(node, '/readyz')).status === 503)
  // A checkpoint a second: by then the first has met the full disk.
  if (late) await new Promise(resolve => setTimeout(resolve, 2_500))
  await t.test('has room again once their clients ack them', async t => {
    for (const client of clients) client.ack()
    await until(async () => {
      for (const client of clients) client.ack() // what came since
      // Ready it may be for a moment, when something small has found room.
      return (await request(node, '/readyz')).status === 200 && await push('again', 50_000) === 202
    }, 100)
    t.pass('and takes a large push')
  })
  await t.test('leaves books that balance', async t => {
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
    await auditOfDirectory(t, directory)
  })
}

t.test('A node that dies on a full disk', { skip: cannotMount }, async t => {
  t.test('has lost nothing when it is started with space again', async t => {
    const directory = mounted(t, 'size=64m')
    const ballast = join(directory, 'lost+found')
    writeFileSync(ballast, Buffer.alloc(56 * mib))
    const node = await startProcess(t, directory)
    const ann = new BusyClient({ userId: 'ann', deviceId: 'tcp', transport: 'tcp', outstanding: 4 })
    t.teardown(() => { ann.stop() })
    await ann.open(node)
    for (let i = 0; ann.refusals.length < 2; i++) await pushTo(node, 'bob', `m${i}`, i)
    await node.kill('SIGKILL')
    rmSync(ballast)
    const next = await startProcess(t, directory)
    await ann.open(next)
    await finished([ann], [])
    await checkUplinks(t, next, [ann])
    t.strictSame(ann.complaints, [])
    await next.kill('SIGTERM')
    await auditOfDirectory(t, directory)
  })
})

/** A client that processes downlinks, and says so only when it is asked to. */
async function openWithoutAcks (t: Test, node: NodeProcess, userId: string) {
  const socket = new WebSocket(`${node.http.replace('http', 'ws')}/v1/connect`)
  t.teardown(() => { socket.terminate() })
  await once(socket, 'open')
  let cursor = 0
  const connected = new Promise<void>(resolve => {
    socket.on('message', data => {
      const frame = JSON.parse(String(data))
      if (frame.op === 'downlink') cursor = frame.seq
      if (frame.op === 'connected') resolve()
    })
  })
  socket.send(JSON.stringify({ op: 'connect', token: await tokenFor(userId), deviceId: 'd', sessionId: 's' }))
  await connected
  return { userId, ack () { socket.send(JSON.stringify({ op: 'downlinkAck', seq: cursor })) } }
}

/** Sends a downlink, large or small by turns: the room that is left may be too little for one of them only. */
function pushTo (node: NodeProcess, userId: string, messageId: string, i: number) {
  const payload = 'x'.repeat(i % 3 === 0 ? 100 : 60_000)
  return request(node, '/v1/downlinks', { to: { userIds: [userId] }, messageId, payload })
}

async function finished (clients: readonly BusyClient[], queued: readonly string[]): Promise<void> {
  for (const client of clients) client.busy = false
  await until(() => clients.every(({ unacked, seen }) => unacked === 0 && seen.length >= queued.length))
}

/** Every acked uplink is there exactly once, in order, with the userSeq of its ack. */
async function checkUplinks (t: Test, node: NodeProcess, clients: readonly BusyClient[]): Promise<void> {
  const acked = clients.reduce((sum, client) => sum + client.acked.size, 0)
  let uplinks = await readUplinks(node)
  await until(async () => (uplinks = await readUplinks(node)).length >= acked, 50)
  t.strictSame(uplinks.map(({ userSeq }) => userSeq), uplinks.map((_, i) => i + 1))
  for (const { sessionId, acked } of clients) {
    const mine = uplinks.filter(uplink => uplink.sessionId === sessionId)
    t.strictSame(mine.map(({ seq }) => seq), Array.from({ length: acked.size }, (_, i) => i + 1))
    t.strictSame(mine.filter(({ seq, userSeq }) => acked.get(seq) !== 0 && acked.get(seq) !== userSeq), [])
  }
}
