import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { audit } from '../../evidence/audit.js'
import { readConfig } from '../../gateway/read-config.js'
import { startNode } from '../../gateway/main.js'
import { openStoredLog } from '../../ledger/embedded/reader.js'
import { BusyClient } from './busy-client.js'
import { apiKey, type Failed, jwtSecret, readUplinks, request, startProcess, tryProcess, until } from './node-process.js'
import { cannotMount, mounted } from './small-disk.js'

t.test('A data directory that can not be used', async t => {
  t.test('ends the command with code 2 and names the variable when a file is in its place', async t => {
    const directory = join(t.testdir({ file: 'in the way' }), 'file')
    const { exit, stderr } = await tryProcess(t, directory) as Failed
    t.strictSame(exit, { code: 2, signal: null })
    t.match(stderr, /LEDGERLINE_DATA/)
    t.match(stderr, directory)
  })
  t.test('ends the command with code 2 and says whose it is when it is not ours', async t => {
    const directory = t.testdir({ 'thesis.doc': 'precious' })
    const { exit, stderr } = await tryProcess(t, directory) as Failed
    t.strictSame(exit, { code: 2, signal: null })
    t.match(stderr, /thesis\.doc/)
    t.equal(readFileSync(join(directory, 'thesis.doc'), 'utf8'), 'precious')
  })
  t.test('ends the command when it is on a read-only disk', { skip: cannotMount }, async t => {
    const directory = mounted(t, 'size=1m')
    execFileSync('mount', ['-o', 'remount,ro', directory])
    const { exit, stderr } = await tryProcess(t, directory) as Failed
    t.strictSame(exit, { code: 2, signal: null })
    t.match(stderr, /LEDGERLINE_DATA.*EROFS/)
  })
  t.test('ends the command with code 1 and a sentence when its disk has no room to begin with', { skip: cannotMount },
    async t => {
      for (const size of ['16k', '400k', '3m']) {
        const { exit, stderr } = await tryProcess(t, mounted(t, `size=${size}`)) as Failed
        t.strictSame(exit, { code: 1, signal: null }, size)
        t.match(stderr, /^ledgerline: [^\n]*(disk is full|no space left)[^\n]*\n$/, size)
      }
    })
  t.test('is not held on to by a node that could not start', async t => {
    const directory = t.testdir()
    const taken = createServer()
    await new Promise<void>(resolve => { taken.listen(0, '127.0.0.1', resolve) })
    const { port } = taken.address() as { port: number }
    const config = (tcpPort: number) => readConfig({
      LEDGERLINE_DATA: directory,
      LEDGERLINE_HTTP_PORT: '0',
      LEDGERLINE_TCP_PORT: String(tcpPort),
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_API_KEYS: apiKey,
    })
    await t.rejects(startNode(config(port), pino({ enabled: false })), { code: 'EADDRINUSE' })
    taken.close()
    const node = await startNode(config(0), pino({ enabled: false }))
    t.teardown(() => node.stop())
    t.equal((await request(node, '/readyz')).status, 200)
  })
})

t.test('A last block that the disk has damaged', async t => {
  const directory = t.testdir()
  const node = await startProcess(t, directory)
  const ann = new BusyClient({ userId: 'ann', deviceId: 'tcp', transport: 'tcp', outstanding: 1 })
  t.teardown(() => { ann.stop() })
  await ann.open(node)
  await until(() => ann.acked.size >= 50)
  ann.busy = false
  await until(() => ann.unacked === 0)
  await until(async () => (await readUplinks(node)).length === ann.acked.size)
  await node.kill('SIGKILL')
  const file = join(directory, 'data.mdb')
  const bytes = readFileSync(file)
  const places = flip(bytes, `${ann.sessionId} ${ann.ackedSeq}`)
  t.ok(places > 0, 'the payload is in the file')
  writeFileSync(file, bytes)

  const next = await startProcess(t, directory)
  await t.test('is set aside by a node that starts and says so', async t => {
    const said = next.lines.filter(({ msg }) => msg === 'a stored block was set aside')
    t.match(said, [{ level: 50, reason: /checksum/ }])
    t.ok(said.some(({ stream }) => stream === 'ledger'))
  })
  await t.test('takes nothing else with it', async t => {
    const uplinks = await readUplinks(next)
    const seqs = uplinks.map(({ seq }) => seq)
    t.strictSame(seqs.slice(0, ann.ackedSeq - 1), Array.from({ length: ann.ackedSeq - 1 }, (_, i) => i + 1))
  })
  await t.test('does not keep the node from going on, for this user and others', async t => {
    for (const [userId, deviceId] of [['ann', 'pad'], ['bob', 'phone']] as const) {
      const client = new BusyClient({ userId, deviceId, transport: 'ws', outstanding: 2 })
      t.teardown(() => { client.stop() })
      await client.open(next)
      await until(() => client.acked.size > 10)
      const hello = { to: { userIds: [userId] }, messageId: 'm1', payload: 'hi' }
      const { status } = await request(next, '/v1/downlinks', hello)
      t.equal(status, 202)
      await until(() => client.seen.length === 1)
      t.strictSame(client.complaints, [])
    }
  })
  await t.test('is not found again by the node after that', async t => {
    t.strictSame(await next.kill('SIGTERM'), { code: 0, signal: null })
    const third = await startProcess(t, directory)
    t.strictSame(third.lines.filter(({ level }) => level >= 50), [])
    t.strictSame(await third.kill('SIGTERM'), { code: 0, signal: null })
  })
  await t.test('is what an audit says could not be judged', async t => {
    const log = await openStoredLog(directory)
    t.teardown(() => log.close())
    // What its snapshot has of the block that is gone, the ledger does not: no more can be asked of these books.
    const { unjudged } = await audit(log, { exact: true })
    t.equal(unjudged.blocks, 1)
  })
})

/** Flips the bits of every place where `text` stands. @returns how many there are */
function flip (bytes: Buffer, text: string): number {
  let places = 0
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
    for (let i = 0; i < text.length; i++) bytes[at + i]! ^= 0xff
    places++
  }
  return places
}
