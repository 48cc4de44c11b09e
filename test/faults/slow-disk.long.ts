import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { BusyClient } from './busy-client.js'
import { readUplinks, request, startProcess, until } from './node-process.js'

const commitMs = 2_500
const leaseMs = 15_000

t.test('A disk that takes seconds for each commit', { skip: canTrace() ? false : 'it takes strace' }, async t => {
  const node = await startProcess(t, t.testdir(), { LEDGERLINE_LEASE_MS: String(leaseMs) })
  const ann = new BusyClient({ userId: 'ann', deviceId: 'tcp', transport: 'tcp', outstanding: 4 })
  t.teardown(() => { ann.stop() })
  await ann.open(node)
  await until(() => ann.acked.size > 20)
  const own = async () => (await request(node, '/v1/nodes')).body.nodes
    .find(({ nodeId }: { nodeId: string }) => nodeId === node.nodeId)
  const { epoch } = await own()
  const said = (msg: string) => node.lines.filter(line => line.msg === msg && line['condition'] === 'disk')

  // Each sync of the data file waits, as on a disk that has too much to do; nothing else of the process does.
  const slowed = spawn('strace', [
    '-f', '-qq', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', `inject=fdatasync:delay_enter=${commitMs}ms`,
    '-p', String(node.pid),
  ], { stdio: 'ignore' })
  const ended = once(slowed, 'exit')
  t.teardown(() => slowed.kill('SIGKILL'))
  const slowAtMs = Date.now()
  const before = { begun: said('trouble has begun').length, ended: said('trouble has ended').length }
  let shown = ''
  await until(async () => {
    const { text } = await request(node, '/readyz')
    if (text.includes('a commit to ')) shown = text
    return shown !== ''
  })
  t.match(shown, /a commit to .* takes longer than 2 s/, 'is what readiness names')
  const { size } = ann.acked
  await until(() => Date.now() - slowAtMs > 1.5 * leaseMs && ann.acked.size > size + 8, 50)
  t.pass('acks late, but acks')
  t.match(await own(), { epoch, state: 'up' }, 'does not take the node from its lease')
  t.equal(said('trouble has begun').length, before.begun + 1, 'is in the log once, when it begins')
  t.equal((await request(node, '/healthz')).status, 200)
  slowed.kill('SIGTERM')
  await ended

  await until(() => said('trouble has ended').length > before.ended)
  t.pass('and when it ends')
  ann.busy = false
  await until(() => ann.unacked === 0)
  t.equal(ann.connections, 1, 'costs nobody a connection')
  t.strictSame(ann.complaints, [])
  await until(async () => (await readUplinks(node)).length === ann.acked.size, 50)
  t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
})

function canTrace (): boolean {
  try {
    execFileSync('strace', ['-qq', '-o', '/dev/null', '-e', 'trace=fdatasync', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
