import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import type { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import { kafkaMissing, startKafka, type TestKafka } from '../cluster/kafka.js'
import { crashedBrokerMs } from '../cluster/kafka-settings.js'
import { collect, collector, note, noteStream, until, type Note } from './log-contract.js'

const sendDeadlineMs = 1_500

async function openLog (t: Test, { brokers }: TestKafka, stream: Stream<Note>) {
  const log = await openKafkaLog({
    brokers,
    topicPrefix: 'test',
    clientId: 'test',
    streams: [{ stream, partitions: 2 }],
    sendDeadlineMs,
    failed: () => {},
  })
  t.teardown(() => log.close())
  return log
}

/** Appends one note after the other to each of two partitions; `stop` says which were acked, and what was refused. */
function appending (log: Awaited<ReturnType<typeof openLog>>, stream: Stream<Note>) {
  const acked: string[][] = [[], []]
  const refused: string[] = []
  const ending = new AbortController()
  const loops = [0, 1].map(async partition => {
    for (let i = 0; !ending.signal.aborted; i++) {
      const several = Array.from({ length: 5 }, (_, j) => `${partition} ${i}.${j}`)
      await Promise.all(several.map(text => log.append(stream, partition, [note(text)]).then(
        () => { acked[partition]!.push(text) },
        (err: GatewayError) => { refused.push(err.code) })))
      await sleep(5)
    }
  })
  return {
    acked,
    refused,
    async stop () {
      ending.abort()
      await Promise.all(loops)
    },
  }
}

/** Each text where it stands first. */
function withoutRepeats (texts: readonly string[]): string[] { return [...new Set(texts)] }

t.setTimeout(450_000) // brokers start again and again

t.test('the Kafka log', { skip: kafkaMissing() ?? false }, async t => {
  await t.test('loses nothing that it acked when the broker crashes and comes back', async t => {
    const kafka = await startKafka(t, { properties: { 'broker.session.timeout.ms': `${crashedBrokerMs}` } })
    const stream = noteStream()
    const log = await openLog(t, kafka, stream)
    const follower = collector()
    await log.follow(stream, 'group', follower)
    const appends = appending(log, stream)
    await until(() => appends.acked[0]!.length > 50)
    await kafka.stopBroker(0, 'SIGKILL')
    await until(() => !log.health().ok)
    await t.rejects(log.append(stream, 0, [note('refused')]), { code: 'ledger-unavailable' })
    await kafka.startBroker(0)
    const before = appends.acked.flat().length
    await until(() => appends.acked.flat().length > before + 50)
    await appends.stop()
    await until(() => log.health().ok) // is well again
    t.ok(appends.refused.every(code => code === 'ledger-unavailable'))
    for (const [partition, acked] of appends.acked.entries()) {
      const stored = withoutRepeats(await collect(log.read(stream, partition, { from: 0n })))
      t.strictSame(stored.filter(text => acked.includes(text)), acked, 'has every one that was acked, in order')
      t.notOk(stored.includes('refused'))
      await until(() => new Set(follower.texts(partition)).size === stored.length)
      t.strictSame(withoutRepeats(follower.texts(partition)), stored, 'and gives them to a follower that was there before')
    }
    t.equal(follower.events.filter(event => event.startsWith('-')).length, 0, 'which keeps its partitions')
  })

  await t.test('sends again what a broker that slept has not answered, and loses nothing', async t => {
    const kafka = await startKafka(t)
    const stream = noteStream()
    const log = await openLog(t, kafka, stream)
    const appends = appending(log, stream)
    await until(() => appends.acked[0]!.length > 50)
    process.kill(kafka.pids[0]!, 'SIGSTOP')
    t.teardown(() => { try { process.kill(kafka.pids[0]!, 'SIGCONT') } catch { /* it has ended */ } })
    await until(() => !log.health().ok)
    await sleep(sendDeadlineMs)
    process.kill(kafka.pids[0]!, 'SIGCONT')
    const before = appends.acked.flat().length
    await until(() => appends.acked.flat().length > before + 50)
    await appends.stop()
    for (const [partition, acked] of appends.acked.entries()) {
      const stored = await collect(log.read(stream, partition, { from: 0n }))
      t.strictSame(withoutRepeats(stored).filter(text => acked.includes(text)), acked, 'in the order of the appends')
      t.equal(stored.length, new Set(stored).size, 'and once: the broker knows the copy by its sequence')
    }
  })
})

t.test('the Kafka log on three brokers', { skip: kafkaMissing() ?? false }, async t => {
  const kafka = await startKafka(t, { brokers: 3 })
  const stream = noteStream()
  const log = await openLog(t, kafka, stream)
  const follower = collector()
  await log.follow(stream, 'group', follower)
  const appends = appending(log, stream)
  await until(() => appends.acked[0]!.length > 50)
  for (const i of [0, 1]) {
    await kafka.stopBroker(i, 'SIGKILL')
    const before = appends.acked.map(({ length }) => length)
    await until(() => appends.acked.every(({ length }, partition) => length > before[partition]! + 20))
    await kafka.startBroker(i)
  }
  await appends.stop()
  for (const [partition, acked] of appends.acked.entries()) {
    const stored = withoutRepeats(await collect(log.read(stream, partition, { from: 0n })))
    t.strictSame(stored.filter(text => acked.includes(text)), acked, 'goes on without each of them, and loses nothing')
    await until(() => new Set(follower.texts(partition)).size === stored.length)
  }
})
