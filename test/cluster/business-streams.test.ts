import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { auditOfTopics } from '../faults/audit.js'
import { BusyClient } from '../faults/busy-client.js'
import { apiKey, request, startProcess, until } from '../faults/node-process.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'
import { type Heard, heard } from './topic-records.js'

const run = promisify(execFile)
const ledgerline = fileURLToPath(new URL('../../cli/ledgerline.js', import.meta.url))

/** Each once, in the order of their numbers, as a reader drops repeats. */
function distinct (all: readonly Heard[], userId: string, counter: string): any[] {
  const mine = all.filter(({ key }) => key === userId)
  let highest = 0
  return mine.map(({ record }) => record).filter(record => {
    if (record[counter] <= highest) return false
    highest = record[counter]
    return true
  })
}

const missing = kafkaMissing() ?? redisMissing() ?? false

t.test('What business services hear through Kafka', { skip: missing, timeout: 400_000 }, async t => {
  const kafka = await startKafka(t)
  const brokers = kafka.brokers.join(',')
  const prefix = `heard-${process.pid}`
  const env = {
    KAFKA_BROKERS: brokers,
    REDIS_URL: (await startRedis(t)).url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_LEASE_MS: '3000',
    LEDGERLINE_PRESENCE_GRACE_MS: '12000',
    LEDGERLINE_OFFLINE_AFTER_MS: '15000',
  }
  const start = (nodeId: string, roles: string) =>
    startProcess(t, t.testdirName, { ...env, LEDGERLINE_NODE_ID: nodeId, LEDGERLINE_ROLES: roles })
  const [edge, owner, other] = await Promise.all([
    start('edge', 'edge'), start('owner', 'users'), start('other', 'users,push,projections,ip-config'),
  ])
  const userIds = Array.from({ length: 12 }, (_, i) => `user${i}`)
  const clients = userIds.map(userId => new BusyClient({ userId, deviceId: 'phone', transport: 'tcp', outstanding: 1 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  const push = async (userId: string, messageId: string, more: object = {}) => {
    const { status } = await request(other, '/v1/downlinks', { to: { userIds: [userId] }, messageId, payload: messageId, ...more })
    t.equal(status, 202)
  }
  for (const client of clients) {
    t.equal(await client.open(edge), true)
    client.busy = false
  }
  for (const userId of userIds) await push(userId, 'seen')
  await until(() => clients.every(({ seen }) => seen.length === 1))

  // All leave; half of them come back within the grace. What they are sent meanwhile, nobody acks in time.
  for (const client of clients) client.vanish()
  for (const userId of userIds) await push(userId, 'missed')
  const [back, away] = [clients.slice(0, 6), clients.slice(6)]
  t.strictSame(await Promise.all(back.map(client => client.open(edge))), back.map(() => true))
  await until(() => back.every(({ seen }) => seen.length === 2))
  await owner.kill('SIGKILL')
  t.pass('half of the partitions lose their owner while something is due in them')

  const all = async (stream: string) => await heard(brokers, prefix, stream)
  await until(async () => {
    const [presence, offline] = [await all('presence'), await all('offline')]
    return away.every(({ userId }) => distinct(presence, userId, 'presenceSeq').length === 2 &&
      distinct(offline, userId, 'offlineSeq').length === 1)
  }, 1_000)
  for (const client of away) t.equal(await client.open(edge), true)
  await until(() => away.every(({ seen }) => seen.length === 2))
  for (const client of clients) await client.leave()
  await until(async () => {
    const [receipts, presence] = [await all('receipts'), await all('presence')]
    return clients.every(({ userId }) => distinct(receipts, userId, 'receiptSeq').length === 2 &&
      distinct(presence, userId, 'presenceSeq').at(-1).change === 'offline')
  }, 1_000)

  const [presence, receipts, offline] = [await all('presence'), await all('receipts'), await all('offline')]
  for (const [i, { userId }] of clients.entries()) {
    const isBack = i < 6
    const changes = distinct(presence, userId, 'presenceSeq').map(({ change, userChanged }) => `${change} ${userChanged}`)
    const wanted = ['online true', 'offline true', ...(isBack ? [] : ['online true', 'offline true'])]
    t.strictSame(changes, wanted, `presence of ${userId}, who ${isBack ? 'came back in time' : 'was away'}`)
    t.strictSame(distinct(receipts, userId, 'receiptSeq').map(({ receiptSeq, messageId, outcome }) =>
      `${receiptSeq} ${messageId} ${outcome}`), ['1 seen acked', '2 missed acked'])
    t.strictSame(distinct(offline, userId, 'offlineSeq').map(({ offlineSeq, change, messageId, payload }) =>
      `${offlineSeq} ${change} ${messageId} ${payload}`), isBack ? [] : ['1 due missed missed', '2 withdrawn missed '])
  }
  for (const { key, messageId, record } of [...presence, ...receipts, ...offline]) {
    t.equal(messageId, `${key}/${record.presenceSeq ?? record.receiptSeq ?? record.offlineSeq}`)
  }
  for (const [stream, records] of Object.entries({ presence, receipts, offline })) {
    const wanted = [...new Set(records.map(({ messageId }) => messageId))].sort()
    const args = [ledgerline, 'history', '--stream', stream, '--json', '--no-progress']
    const gateway = ['--url', other.http, '--api-key', apiKey]
    for (const [where, options] of [['the topics', []], ['a running gateway', gateway]] as const) {
      const { stdout } = await run(process.execPath, [...args, ...options], { env: { ...process.env, ...env } })
      const rows = stdout.split('\n').slice(0, -1).map(line => JSON.parse(line))
      const ids = rows.map(row => `${row.userId}/${row.presenceSeq ?? row.receiptSeq ?? row.offlineSeq}`)
      t.strictSame(ids.sort(), wanted, `history exports ${stream} from ${where}, each record once`)
    }
  }
  await auditOfTopics(t, kafka.brokers, prefix)
})
