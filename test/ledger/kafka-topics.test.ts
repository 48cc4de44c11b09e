import t from 'tap'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import { ensureTopics } from '../../ledger/kafka/topics.js'
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
})

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
