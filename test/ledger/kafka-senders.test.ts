import t, { type Test } from 'tap'
import { Publisher } from '../../actors/publisher.js'
import { tellOfNode } from '../../gateway/node.js'
import { Appender } from '../../ledger/kafka/appender.js'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import { NoAnswer } from '../../ledger/kafka/no-answer.js'
import { singleObjectFormat } from '../../ledger/kafka/format.js'
import { readBatches } from '../../ledger/kafka/record-batch.js'
import { produce, type PartitionBatch } from '../../ledger/kafka/record-apis.js'
import { TopicBook } from '../../ledger/kafka/topic-book.js'
import type { EventLog } from '../../ledger/log.js'
import { noReport } from '../../projections/nodes.js'
import { uplinks } from '../../schemas/streams.js'
import { accepted } from './accepted.js'
import { note, noteStream, until } from './log-contract.js'

const topic = 'test.notes'
const nodesTopic = 'test.nodes'

/** What the broker answers for a partition: an error code, or an error instead of an answer. */
type Script = (partition: number, batch: Buffer) => number | Error

t.test('appends to Kafka', async t => {
  await t.test('to one partition that has an error take nothing from its neighbours', async t => {
    let isFailing = true
    const { appender, requests, lasting, append } = given(t, partition => partition === 0 && isFailing ? 19 : 0, {
      sendDeadlineMs: 60_000,
    })
    const sinceMs = performance.now()
    const waiting = append(0, 'late')
    await until(() => requests.filter(([first]) => first?.partition === 0).length > 0)
    for (let i = 0; i < 200; i++) await append(1, `${i}`)
    const tries = requests.flat().filter(({ partition }) => partition === 0).length
    const seconds = (performance.now() - sinceMs) / 1_000 // it is tried once a second in the end
    t.ok(tries < 10 + seconds, `${tries} tries of one beside 200 appends to the other`)
    t.strictSame([...lasting], [['appends test.notes/0', 'test.notes/0: NOT_ENOUGH_REPLICAS']])
    t.equal(appender.health().ok, true)
    isFailing = false
    t.match(await waiting, { partition: 0 })
    t.equal(lasting.size, 0)
  })

  await t.test('that a broker has too few replicas for do not ask who leads, those of a moved partition seldom', async t => {
    let errorCode = 19
    const { looks, requests, append } = given(t, () => errorCode)
    append(0, 'a').catch(() => {})
    await until(() => requests.length > 3)
    t.equal(looks(), 0)
    errorCode = 6
    await until(() => looks() > 0)
  })

  await t.test('that are denied are refused at once and told with what to do, and taken again once that was done', async t => {
    let isDenied = true
    const { requests, lasting, append } = given(t, partition => partition === 0 && isDenied ? 29 : 0, { slowMs: 50 })
    await t.rejects(append(0, 'a'), { code: 'ledger-unavailable', message: /TOPIC_AUTHORIZATION_FAILED: grant READ, WRITE/ })
    await t.rejects(append(0, 'b'), { code: 'ledger-unavailable', message: /TOPIC_AUTHORIZATION_FAILED/ })
    t.match([...lasting], [['refused test.notes/0', /^test\.notes\/0: TOPIC_AUTHORIZATION_FAILED: grant/]])
    t.match(await append(1, 'c'), { partition: 1 })
    const empty = () => requests.flat().filter(({ batch }) => batch.length === 0).length
    await until(() => empty() > 1)
    t.equal(lasting.size, 1, 'a probe that is denied changes nothing')
    isDenied = false
    await until(() => lasting.size === 0)
    t.match(await append(0, 'd'), { partition: 0 })
    t.strictSame(texts(requests.flat().filter(({ partition }) => partition === 0)), ['a', 'd'], 'without what was refused')
  })

  await t.test('that a compacted topic refuses are tried with the next append, which ends it when it is stored', async t => {
    let isCompacted = true
    const { lasting, append } = given(t, () => isCompacted ? 87 : 0, { slowMs: 20 })
    await t.rejects(append(0, 'a'), { message: /INVALID_RECORD: set cleanup\.policy of the topic to delete/ })
    for (let i = 0; i < 20; i++) {
      await t.rejects(append(0, 'b'))
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    t.equal(lasting.size, 1, 'it has begun once, and has not ended')
    isCompacted = false
    for (let i = 0; lasting.size > 0 && i < 500; i++) {
      await append(0, 'c').catch(() => {})
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    t.equal(lasting.size, 0)
  })

  await t.test('whose outcome is not known are sent again after a denial, and never refused', async t => {
    const answers: Array<number | Error> = [new NoAnswer('late', true), 29, 0, 0]
    const { requests, append } = given(t, (_, batch) => batch.length === 0 ? 87 : answers.shift()!, {
      slowMs: 20, sendDeadlineMs: 60_000,
    })
    t.match(await append(0, 'a'), { partition: 0, offset: 0n })
    t.strictSame(texts(requests.flat()), ['a', 'a', 'a'])
  })

  await t.test('of what nodes say of themselves have room, and go ahead, however much clients have waiting', async t => {
    const { appender, requests, append } = given(t, () => 0)
    const text = 'x'.repeat(20_000)
    const outcomes = Array.from({ length: 200 }, (_, i) => append(i % 4, text).then(() => 'stored', () => 'refused'))
    const log = {
      partitions: () => 1,
      append: (...[stream, partition, items, options]: Parameters<EventLog['append']>) =>
        appender.append(stream, nodesTopic, partition, items, options),
    } as unknown as EventLog
    await t.rejects(append(3, text), { code: 'ledger-unavailable' }, 'where clients find none')
    await tellOfNode(log, { nodeId: 'n1', epoch: 1 }, {
      type: 'NodeReported', ...noReport, connections: 1,
    })
    t.equal(requests.length, 1, 'with the very next request')
    t.equal(requests[0]![0]!.topic, nodesTopic, 'at its beginning')
    t.ok((await Promise.all(outcomes)).includes('refused'))
  })

  for (const [what, small] of [['a few', 100], ['more than one request has room for', 60_000]] as const) {
    await t.test(`of ${what} uplinks with one that the topic never takes have each other one stored once`, async t => {
      const { appender, topics, requests } = given(t, () => 0)
      topics.setBatchBytesMax(topic, 100_000)
      const setAside: number[] = []
      const publisher = new Publisher({
        log: { append: (stream, ...rest) => appender.append(stream, topic, ...rest) },
        stream: uplinks,
        partition: 0,
        setAside: ({ userSeq }) => { setAside.push(userSeq) },
        failed: reason => { t.fail(reason) },
        progressed () {},
      }, 0n, -1n)
      const sizes = [small, small, small, small, small, 120_000, small, small]
      publisher.add(7n, sizes.map((size, i) => accepted(i + 1, 'x'.repeat(size))))
      publisher.publish()
      await until(() => publisher.published === 7n)
      const stored = requests.flat().flatMap(({ batch }) => readBatches(batch, 0n).records)
      const userSeqs = stored.map(({ value }) => singleObjectFormat.decode(uplinks, value!)?.userSeq)
      t.strictSame(userSeqs, [1, 2, 3, 4, 5, 7, 8])
      t.strictSame(setAside, [6])
    })
  }

  await t.test('are refused after the deadline where no broker can have them', async t => {
    const { append, appender } = given(t, () => new NoAnswer('refused', false), { sendDeadlineMs: 200 })
    await t.rejects(append(0, 'a'), { code: 'ledger-unavailable', message: /test\.notes\/0: refused/ })
    await until(() => !appender.health().ok)
    await t.rejects(append(0, 'b'), { code: 'ledger-unavailable' })
  })

  await t.test('say that Kafka is away where no broker has answered for as long, and that it is back', async t => {
    let isAway = false
    const { append, appender } = given(t, () => isAway ? new NoAnswer('refused', false) : 0, { sendDeadlineMs: 200 })
    await append(0, 'a')
    t.match(appender.circuit(), { dependency: 'kafka', state: 'closed', opened: 0, refused: 0 })
    isAway = true
    await t.rejects(append(1, 'b'))
    await until(() => appender.away() !== '')
    t.match(appender.away(), /Kafka does not answer: test\.notes\/1: refused/)
    await t.rejects(append(1, 'c'), { code: 'ledger-unavailable' })
    t.match(appender.circuit(), { state: /^(half-)?open$/, opened: 1, refused: 1 })
    await t.rejects(append(2, 'of a partition that nobody has tried'), { code: 'ledger-unavailable' })
    t.match(appender.circuit(), { refused: 2 })
    isAway = false
    await until(() => appender.away() === '')
    t.match(appender.circuit(), { state: 'closed', opened: 1 })
    await append(1, 'd')
  })

  await t.test('do not say so where a broker answers, be it with a refusal, or to another partition', async t => {
    const { append, appender } = given(t, partition => [new NoAnswer('refused', false), 19, 0, 0][partition]!, {
      sendDeadlineMs: 100, leaders: [2, 1, 1, 1],
    })
    const alone = append(1, 'a').then(() => {}, () => {})
    await until(() => !appender.health().ok)
    t.equal(appender.away(), '', 'NOT_ENOUGH_REPLICAS is an answer')
    const silent = append(0, 'b').then(() => {}, () => {})
    for (const end = Date.now() + 500; Date.now() < end; await new Promise(resolve => setTimeout(resolve, 5))) {
      await append(2, 'c')
      if (appender.away() !== '') t.fail('one partition has answers')
    }
    await Promise.all([alone, silent])
    t.equal(appender.circuit().opened, 0)
  })
})

interface Options {
  readonly slowMs?: number
  readonly sendDeadlineMs?: number
  /** By partition. */
  readonly leaders?: readonly number[]
}

/** An appender whose brokers, one by default, answer by the script, and stores what it says 0 to. */
function given (
  t: Test, script: Script, { slowMs = 10_000, sendDeadlineMs = 5_000, leaders = [1, 1, 1, 1] }: Options = {}
) {
  const topics = new TopicBook()
  topics.know([topic, nodesTopic])
  topics.learn([topic, nodesTopic].map(topic => ({
    topic,
    topicErrorCode: 0,
    partitionMetadata: leaders.map((leader, partitionId) => ({ partitionId, leader })),
  })))
  const requests: PartitionBatch[][] = []
  const ends = [0n, 0n, 0n, 0n]
  let looks = 0
  const answer = ({ topic, partition, batch }: PartitionBatch) => {
    const scripted = script(partition, batch)
    if (scripted instanceof Error) throw scripted
    const errorCode = scripted === 0 && batch.length === 0 ? 87 : scripted
    return { topic, partition, errorCode, baseOffset: errorCode === 0 ? ends[partition]!++ : -1n }
  }
  const cluster = {
    topics,
    partitions: (name: string) => topics.partitions(name),
    leaderOf: (name: string, partition: number) => topics.leaderOf(name, partition),
    look: async () => { looks++ },
    connection: async () => ({
      async send (api: unknown, { batches }: { batches: PartitionBatch[] }) {
        await new Promise(resolve => setImmediate(resolve))
        if (api !== produce) return { errorCode: 0, producerId: '1', producerEpoch: 0 }
        requests.push(batches)
        return { throttleMs: 0, partitions: batches.map(answer) }
      },
    }),
  } as unknown as Cluster
  const lasting = new Map<string, string>()
  const stream = noteStream()
  const appender = new Appender({
    cluster,
    format: singleObjectFormat,
    sendDeadlineMs,
    pendingBytesMax: 1 << 20,
    slowMs,
    health: {
      begin: (name, reason, what) => { lasting.set(`${name} ${what}`, reason) },
      end: (name, what) => { lasting.delete(`${name} ${what}`) },
    },
    failed: (what, err) => { t.fail(what, err) },
  })
  t.teardown(() => appender.close())
  return {
    appender,
    topics,
    requests,
    lasting,
    looks: () => looks,
    append: (partition: number, text: string) => appender.append(stream, topic, partition, [note(text)]),
  }
}

function texts (batches: readonly PartitionBatch[]): string[] {
  const { decodeBlock } = noteStream()
  return batches.flatMap(({ batch }) => readBatches(batch, 0n).records)
    .flatMap(({ value }) => decodeBlock(value!).map(({ text }) => text))
}
