import t, { type Test } from 'tap'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import { NoAnswer, NotAdmitted } from '../../ledger/kafka/no-answer.js'
import { ensureTopics, patiently } from '../../ledger/kafka/topics.js'
import { TopicBook } from '../../ledger/kafka/topic-book.js'

const wanted = [{ topic: 'a', partitions: 2 }, { topic: 'b', partitions: 2 }]

t.test('topics', async t => {
  await t.test('are asked for again where the controller is another broker by now', async t => {
    const answers: Array<Record<string, number>> = [{ a: 41, b: 41 }, { a: 0, b: 7 }, { b: 36 }]
    const { cluster, asked } = given(answers)
    await ensureTopics(cluster, wanted)
    t.strictSame(asked, [['a', 'b'], ['a', 'b'], ['b']])
  })

  await t.test('that may not be created are told with what to do, at once', async t => {
    const { cluster, asked } = given([{ a: 29, b: 0 }])
    await t.rejects(ensureTopics(cluster, wanted), {
      code: 'misconfigured',
      message: /^Kafka topic a is not there, and this user may not create it/,
    })
    t.equal(asked.length, 1)
  })

  await t.test('are waited for as long as more of their partitions get a leader', async t => {
    const { cluster, looks } = growing(t, 20)
    await ensureTopics(cluster, [{ topic: 'a', partitions: 20 }])
    t.equal(looks(), 20)
  })

  await t.test('are told of where no partition gets a leader any more', async t => {
    const { cluster, looks } = growing(t, 5)
    await t.rejects(ensureTopics(cluster, [{ topic: 'a', partitions: 20 }]), {
      message: 'Kafka topic a: a partition has no leader',
    })
    t.ok(looks() > 5, 'a while after the last one')
  })
})

t.test('a question to a broker that is busy', async t => {
  await t.test('is asked again where it has had no answer', async t => {
    let asked = 0
    t.equal(await patiently(async () => {
      if (++asked < 3) throw new NoAnswer('late', true)
      return 'answer'
    }), 'answer')
    t.equal(asked, 3)
  })

  await t.test('is not asked again where another answer would not differ, or for ever', async t => {
    const pass = clockOf(t)
    for (const err of [new NotAdmitted('a wrong password'), new Error('another one')]) {
      let asked = 0
      await t.rejects(patiently(async () => {
        asked++
        throw err
      }), err)
      t.equal(asked, 1)
    }
    await t.rejects(patiently(async () => {
      pass(20_000)
      throw new NoAnswer('late', true)
    }), { message: 'late' })
  })
})

/** @returns lets time pass, ms: `Date.now` is later then */
function clockOf (t: Test): (ms: number) => void {
  const { now } = Date
  let passedMs = 0
  Date.now = () => now() + passedMs
  t.teardown(() => { Date.now = now })
  return ms => { passedMs += ms }
}

/** A topic of 20 partitions that is there. Each look comes 10 s after the one before, and finds one leader more. */
function growing (t: Test, leadersMax: number) {
  const topics = new TopicBook()
  const pass = clockOf(t)
  let looks = 0
  const cluster = {
    topics,
    partitions: (topic: string) => topics.partitions(topic),
    leaderOf: (topic: string, partition: number) => topics.leaderOf(topic, partition),
    describe: async () => ({ topicMetadata: [{ topic: 'a', topicErrorCode: 0, partitionMetadata: [] }] }),
    refresh: async () => {
      pass(10_000)
      const led = Math.min(++looks, leadersMax)
      const partitionMetadata = Array.from({ length: 20 }, (_, partitionId) =>
        ({ partitionId, leader: partitionId < led ? 1 : -1 }))
      topics.learn([{ topic: 'a', topicErrorCode: 0, partitionMetadata }])
    },
  } as unknown as Cluster
  return { cluster, looks: () => looks }
}

/** @param answers to each request that creates topics, error codes by topic */
function given (answers: Array<Record<string, number>>) {
  const topics = new TopicBook()
  const asked: string[][] = []
  const partitionMetadata = [{ partitionId: 0, leader: 1 }, { partitionId: 1, leader: 1 }]
  const cluster = {
    topics,
    brokers: 1,
    controllerNode: 1,
    partitions: (topic: string) => topics.partitions(topic),
    leaderOf: (topic: string, partition: number) => topics.leaderOf(topic, partition),
    describe: async (names: string[]) =>
      ({ topicMetadata: names.map(topic => ({ topic, topicErrorCode: 3, partitionMetadata: [] })) }),
    refresh: async () => {
      if (answers.length > 0) return
      topics.learn(wanted.map(({ topic }) => ({ topic, topicErrorCode: 0, partitionMetadata })))
    },
    connection: async () => ({
      async send (_api: unknown, question: { topics: Array<{ topic: string }> }) {
        asked.push(question.topics.map(({ topic }) => topic))
        const topicErrors = Object.entries(answers.shift()!).map(([topic, errorCode]) =>
          ({ topic, errorCode, errorMessage: 'because' }))
        return { topicErrors }
      },
    }),
  } as unknown as Cluster
  return { cluster, asked }
}
