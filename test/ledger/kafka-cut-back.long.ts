import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import type { KafkaLog } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import type { Block, Following } from '../../ledger/log.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { uplinks } from '../../schemas/streams.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { accepted } from './accepted.js'
import { until } from './log-contract.js'

/** Follows with a store of its own, which a test may set back as an operator does, or by what the group keeps. */
class Consumer {
  readonly seen: number[] = []
  stored = 0n
  following: Following | undefined

  constructor (readonly group: string, readonly hasStore: boolean) {}

  async follow (log: KafkaLog): Promise<void> {
    this.following = await log.follow(uplinks, this.group, {
      assigned: async (_partition, committed) => this.hasStore ? this.stored : committed,
      received: ({ offset, items }: Block<UplinkAccepted>) => {
        for (const { userSeq } of items) this.seen.push(userSeq)
        this.stored = offset + 1n
        if (!this.hasStore) this.following?.commit(0, this.stored)
      },
      revoked: async () => {},
    })
  }
}

function numbers (from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

t.test('a leader that was elected without having all', { skip: kafkaMissing() ?? false }, async t => {
  const kafka = await startKafka(t, { brokers: 3 })
  const admin = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{
      topic: 'test.uplinks',
      replicaAssignment: [{ partition: 0, replicas: [1, 2] }],
      configEntries: [
        { name: 'unclean.leader.election.enable', value: 'true' }, { name: 'min.insync.replicas', value: '1' },
      ],
    }],
  })
  const lasting = new Map<string, string>()
  const told: string[] = []

  async function open (t: Test): Promise<KafkaLog> {
    const log = await openKafkaLog({
      brokers: kafka.brokers,
      topicPrefix: 'test',
      clientId: 'test',
      streams: [{ stream: uplinks, partitions: 1 }],
      sendDeadlineMs: 60_000, // longer than it takes to elect a leader
      health: {
        begin: (name, reason, what) => { if (name === 'cut-back') lasting.set(what ?? '', reason) },
        end: (name, what) => { if (name === 'cut-back') lasting.delete(what ?? '') },
      },
      failed: (what, err) => { if (what === 'the log was cut back') told.push(err.message) },
    })
    t.teardown(() => log.close())
    return log
  }

  async function append (log: KafkaLog, userSeqs: readonly number[]): Promise<void> {
    for (const userSeq of userSeqs) await log.append(uplinks, 0, [accepted(userSeq)])
  }

  async function read (log: KafkaLog): Promise<number[]> {
    const userSeqs: number[] = []
    for await (const { items } of log.read(uplinks, 0, { from: 0n })) {
      userSeqs.push(...items.map(({ userSeq }) => userSeq))
    }
    return userSeqs
  }

  /** Until the group keeps that the follower has come past the eighth entry. */
  async function placeStored (group: string): Promise<void> {
    for (;;) {
      const [topic] = await admin.fetchOffsets({ groupId: `test.${group}.uplinks`, topics: ['test.uplinks'] })
      if (topic?.partitions[0]?.metadata?.startsWith('8@')) return
      await sleep(50)
    }
  }

  const log = await open(t)
  const [commands, table, away] = [new Consumer('commands', false), new Consumer('table', true), new Consumer('away', true)]
  await commands.follow(log)
  await table.follow(log)
  const other = await open(t)
  await away.follow(other)

  // Three entries that both replicas have, and five that the second one never sees.
  await append(log, numbers(1, 3))
  await kafka.stopBroker(1)
  await append(log, numbers(4, 8))
  for (const { seen } of [commands, table, away]) await until(() => seen.length === 8)
  const tail = new AbortController()
  t.teardown(() => { tail.abort() })
  const tailed: number[] = []
  const tailing = (async () => {
    for await (const { items } of log.read(uplinks, 0, { from: 0n, signal: tail.signal })) {
      tailed.push(...items.map(({ userSeq }) => userSeq))
    }
  })()
  tailing.catch(() => {})
  await until(() => tailed.length === 8)
  for (const { group } of [commands, table, away]) await placeStored(group)
  await other.close()
  await kafka.stopBroker(0, 'SIGKILL')
  await kafka.startBroker(1)
  // As many as are lost, and two more: by its offset nobody's place is wrong.
  await append(log, numbers(9, 15))
  const kept = [...numbers(1, 3), ...numbers(9, 15)]

  await t.test('has a follower that lives by the group go on where the logs part, with nothing skipped or again', async t => {
    await until(() => commands.seen.length >= 15)
    t.strictSame(commands.seen, numbers(1, 15))
    t.match(told, [/^test\.uplinks\/0 was cut back: what was read from offset 3 to 7 is gone, and other entries take its place/])
    t.strictSame(await read(log), kept)
  })

  await t.test('stops a follower whose store has entries that are gone, and tells what to do', async t => {
    await until(() => lasting.has('test.table.uplinks, partition 0'))
    t.match(lasting.get('test.table.uplinks, partition 0'), /^test\.uplinks\/0 was cut back: .* docs\/operations\.md/)
    t.strictSame(table.seen, numbers(1, 8))
    t.match(log.standing(), [{ stream: 'uplinks', partition: 0, group: 'table', reason: /was cut back: .* stands still/ }])
    table.stored = 0n
    await until(() => table.seen.length >= 18)
    t.strictSame(table.seen, [...numbers(1, 8), ...kept])
    t.equal(lasting.size, 0)
    t.strictSame(log.standing(), [])
  })

  await t.test('is noticed by one that was away meanwhile', async t => {
    const back = await open(t)
    await away.follow(back) // which does not keep a node from its other partitions
    await until(() => lasting.has('test.away.uplinks, partition 0'))
    t.strictSame(away.seen, numbers(1, 8))
    away.stored = 3n
    await until(() => away.seen.length >= 15)
    t.strictSame(away.seen, numbers(1, 15))
  })

  await t.test('ends a read that has read what is gone', async t => {
    await t.rejects(tailing, { code: 'ledger-unavailable', message: /was cut back: what was read from offset 3 to 7 is gone/ })
    t.strictSame(tailed, numbers(1, 8))
  })
})
