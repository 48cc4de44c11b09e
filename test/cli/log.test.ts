import { once } from 'node:events'
import { join } from 'node:path'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import t from 'tap'
import type { Test } from 'tap'
import { type LogOptions, openLogReader } from '../../cli/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger } from '../../schemas/streams.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { run, start } from './given.js'

const user = 'ann'

/** A gateway with the request for one downlink in its ledger. */
async function givenNode (t: Test) {
  const cwd = t.testdir()
  const child = start(['start', '--http-port', '0', '--tcp-port', '0'], { cwd })
  t.teardown(() => child.kill('SIGKILL'))
  child.stderr.pipe(process.stderr)
  let url: string | undefined
  for await (const line of createInterface(child.stdout)) {
    url = JSON.parse(line).http
    if (url) break
  }
  const data = join(cwd, 'data')
  const { code } = await run(['push', user, 'hi', '--message-id', 'm1', '--url', url!, '--data', data], { cwd })
  t.equal(code, 0)
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
  return { url: url!, data, end }
}

async function isClosed (port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect')
    return false
  } catch {
    return true
  } finally {
    socket.destroy()
  }
}

/** The facts about the user, as a command finds them. */
async function facts (t: Test, options: LogOptions) {
  const log = await openLogReader(options)
  t.teardown(() => log.close())
  const found: string[] = []
  const partition = partitionOf(user, log.partitions(ledger))
  for await (const { items } of log.read(ledger, partition, { from: 0n, key: user })) {
    found.push(...items.map(({ fact }) => 'messageId' in fact ? fact.messageId : fact.type))
  }
  return found
}

t.test('the log of a command', async t => {
  for (const name of ['LEDGERLINE_URL', 'LEDGERLINE_DATA', 'LEDGERLINE_API_KEYS', 'KAFKA_BROKERS']) delete process.env[name]

  await t.test('is that of the gateway which is named', async t => {
    const { url, data } = await givenNode(t)
    t.strictSame(await facts(t, { url, data }), ['m1'])
    process.env['LEDGERLINE_URL'] = url
    t.teardown(() => { delete process.env['LEDGERLINE_URL'] })
    t.strictSame(await facts(t, { data }), ['m1'], 'also by the environment')
  })

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await t.test(`is the data directory after ${signal}`, async t => {
      const { data, end } = await givenNode(t)
      await end(signal)
      t.strictSame(await facts(t, { data }), ['m1'])
    })
  }

  const isAlone = await isClosed(8080)
  const notAlone = { skip: isAlone ? false : 'a program listens at port 8080, where commands look for a gateway' }

  await t.test('is not the data directory while a gateway has it open', notAlone, async t => {
    const { data } = await givenNode(t)
    await t.rejects(openLogReader({ data }), { name: 'CommandFailed', exitCode: 1, message: /is in use by process \d+;.*--url/ })
  })

  await t.test('is nowhere without a gateway and a data directory, and the failure says where it looked', notAlone, async t => {
    const data = t.testdir()
    await t.rejects(openLogReader({ data }),
      { name: 'CommandFailed', exitCode: 1, message: /got no ledgerline\.json.* and no gateway at http:.*--url/ })
  })

  await t.test('is that of the topics where Kafka is configured', { skip: kafkaMissing() ?? false }, async t => {
    const { brokers } = await startKafka(t)
    const log = await openKafkaLog({
      brokers, topicPrefix: 'cli', clientId: 'node', streams: [{ stream: ledger, partitions: 2 }], failed () {},
    })
    t.teardown(() => log.close())
    await log.append(ledger, partitionOf(user, 2), [
      { userId: user, atMs: 1, fact: { type: 'KickRequested', requestId: 'k1', connectionId: '', reason: '', by: '' } },
    ])
    Object.assign(process.env, { KAFKA_BROKERS: brokers.join(','), LEDGERLINE_TOPIC_PREFIX: 'cli' })
    t.teardown(() => { for (const name of ['KAFKA_BROKERS', 'LEDGERLINE_TOPIC_PREFIX']) delete process.env[name] })
    t.strictSame(await facts(t, { data: t.testdir() }), ['KickRequested'])
    process.env['LEDGERLINE_TOPIC_PREFIX'] = 'other'
    await t.rejects(openLogReader({}), { message: /^Kafka has none of the topics other\.ledger/ })
  })

  await t.test('is refused where the data directory is of a newer Ledgerline', async t => {
    const data = t.testdir({ 'ledgerline.json': '{"program":"ledgerline","format":99}' })
    await t.rejects(openLogReader({ data }), { name: 'CommandFailed', exitCode: 1, message: /got format 99, want at most 3/ })
  })
})
