import { Redis } from 'ioredis'
import t from 'tap'
import { createTopics, kafkaMissing, outsideKafka, startKafka } from './kafka.js'
import { crashedBrokerMs } from './kafka-settings.js'
import { redisMissing, startRedis, startRedisCluster } from './redis.js'
import { registryMissing, startRegistry } from './registry.js'

t.test('Kafka', { skip: kafkaMissing() ?? false }, async t => {
  t.test('keeps its records when its only broker crashes', async t => {
    const kafka = await startKafka(t, { properties: { 'broker.session.timeout.ms': `${crashedBrokerMs}` } })
    await createTopic(kafka.brokers, 1)
    await append(kafka.brokers, 'before')
    const [pid] = kafka.pids
    await kafka.stopBroker(0, 'SIGKILL')
    await kafka.startBroker(0)
    t.not(kafka.pids[0], pid)
    await append(kafka.brokers, 'after')
    t.strictSame(await readTwo(kafka.brokers), ['before', 'after'])
  })

  t.test('goes on with two of its three brokers', async t => {
    const kafka = await startKafka(t, { brokers: 3 })
    await createTopic(kafka.brokers, 3)
    await append(kafka.brokers, 'before')
    await kafka.stopBroker(1)
    await append(kafka.brokers, 'after')
    t.strictSame(await readTwo(kafka.brokers), ['before', 'after'])
  })
})

t.test('Redis', { skip: redisMissing() ?? false }, async t => {
  t.test('keeps its keys over a restart, unless it is to come back empty', async t => {
    const server = await startRedis(t)
    await withRedis(server.url, async redis => await redis.set('key', 'value'))
    await server.restart()
    t.equal(await withRedis(server.url, async redis => await redis.get('key')), 'value')
    await server.restart({ empty: true })
    t.equal(await withRedis(server.url, async redis => await redis.get('key')), null)
  })

  t.test('shares the slots among the masters of a cluster', async t => {
    const { urls } = await startRedisCluster(t)
    const answers = await Promise.all(urls.map(async url => await withRedis(url, async redis =>
      await redis.set('key', 'value').catch((err: Error) => err.message))))
    t.equal(answers.filter(answer => answer === 'OK').length, 1)
    t.equal(answers.filter(answer => answer.startsWith('MOVED')).length, 2)
  })
})

t.test('The schema registry', { skip: registryMissing() ?? false }, async t => {
  t.test('gives a schema back by its id', async t => {
    const { url } = await startRegistry(t)
    const schema = JSON.stringify({ type: 'record', name: 'Row', fields: [{ name: 'userSeq', type: 'long' }] })
    const { id } = await request(`${url}/subjects/ledgerline.uplinks-value/versions`, { schema })
    t.strictSame(JSON.parse((await request(`${url}/schemas/ids/${id}`)).schema), JSON.parse(schema))
  })
})

async function createTopic (brokers: string[], replicationFactor: number): Promise<void> {
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  await createTopics(admin, [{ topic: 'topic', numPartitions: 1, replicationFactor }])
  await admin.disconnect()
}

async function append (brokers: string[], value: string): Promise<void> {
  const producer = outsideKafka(brokers).producer({ allowAutoTopicCreation: false })
  await producer.connect()
  try {
    await producer.send({ topic: 'topic', acks: -1, messages: [{ value }] })
  } finally {
    await producer.disconnect()
  }
}

async function readTwo (brokers: string[]): Promise<string[]> {
  const consumer = outsideKafka(brokers).consumer({ groupId: 'group', allowAutoTopicCreation: false })
  await consumer.connect()
  await consumer.subscribe({ topic: 'topic', fromBeginning: true })
  const values: string[] = []
  await new Promise<void>((resolve, reject) => {
    consumer.run({
      eachMessage: async ({ message }) => {
        values.push(String(message.value))
        if (values.length === 2) resolve()
      },
    }).catch(reject)
  })
  await consumer.disconnect()
  return values
}

async function withRedis<T> (url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url)
  try {
    return await use(redis)
  } finally {
    redis.disconnect()
  }
}

async function request (url: string, body?: object): Promise<any> {
  const response = await fetch(url, body && {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify(body),
  })
  return await response.json()
}
