import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { roles } from '../../gateway/config.js'
import { EventSources } from '../client/event-sources.js'
import { browserMissing } from '../client/page.js'
import { auditOfTopics } from '../faults/audit.js'
import { BusyClient } from '../faults/busy-client.js'
import { apiKey, type NodeProcess, request, startProcess, until } from '../faults/node-process.js'
import { secret, startReceiver } from '../gateway/webhooks/receiver.js'
import { CurlReader } from './curl-reader.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'
import { findExecutable, findPort } from './server-process.js'
import { heard } from './topic-records.js'

type Data = Readonly<Record<string, any>>

interface Identity {
  /** What types of its webhook events begin with. */
  readonly event: string
  readonly owner: (data: Data) => string
  readonly id: (data: Data) => string
}

/** Of each stream: whose records keep their order, and what tells a record from all others (docs/streams.md). */
const streams: Readonly<Record<string, Identity>> = {
  uplinks: { event: 'uplink', owner: ({ userId }) => userId, id: ({ userId, userSeq }) => `${userId}/${userSeq}` },
  presence: { event: 'presence', owner: ({ userId }) => userId, id: ({ userId, presenceSeq }) => `${userId}/${presenceSeq}` },
  receipts: { event: 'downlink', owner: ({ userId }) => userId, id: ({ userId, receiptSeq }) => `${userId}/${receiptSeq}` },
  offline: { event: 'offline', owner: ({ userId }) => userId, id: ({ userId, offlineSeq }) => `${userId}/${offlineSeq}` },
  connections: { event: 'connection', owner: ({ userId }) => userId, id: ({ connectionId }) => connectionId },
  posts: { event: 'room', owner: ({ roomId }) => roomId, id: ({ roomId, roomSeq }) => `${roomId}/${roomSeq}` },
}
const names = Object.keys(streams)
/** Each of these nodes is killed; together they have every role. */
const rolesOf = {
  edge: 'edge', users: 'users', projections: 'projections', push: 'push,ip-config,console', webhooks: 'webhooks',
}
type Name = keyof typeof rolesOf
const sendsOfRound = 5
const rooms = ['hall', 'lobby']
/** What a busy machine may need until every reader has what the topics have. */
const readWithinMs = 60_000

/** Ids by owner, each where it came first. @throws where two records of one id differ */
function inOrder (name: string, came: readonly Data[]): Record<string, string[]> {
  const { owner, id } = streams[name]!
  const first = new Map<string, string>()
  const found: Record<string, string[]> = {}
  for (const data of came) {
    const text = JSON.stringify(data)
    const known = first.get(id(data))
    if (known !== undefined && known !== text) throw new Error(`${name}: ${known} came again as ${text}`)
    if (known === undefined) (found[owner(data)] ??= []).push(id(data))
    first.set(id(data), text)
  }
  return found
}

const numbered = (owner: string, count: number) => Array.from({ length: count }, (_, i) => `${owner}/${i + 1}`)
const curlMissing = findExecutable('curl') && findExecutable('kcat') ? undefined : 'needs curl and kcat: apt-get install curl kcat'
const missing = kafkaMissing() ?? redisMissing() ?? curlMissing ?? false

t.test('Each stream is whole in Kafka, over HTTP and by webhook,', { skip: missing, timeout: 500_000 }, async t => {
  const [kafka, redis, receiver] = await Promise.all([startKafka(t), startRedis(t), startReceiver(t)])
  const brokers = kafka.brokers.join(',')
  const prefix = `ways-${process.pid}`
  const env: Record<string, string> = {
    KAFKA_BROKERS: brokers,
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_LEASE_MS: '3000',
    LEDGERLINE_OFFLINE_AFTER_MS: '500',
    LEDGERLINE_WEBHOOKS: JSON.stringify([{ name: 'crm', url: receiver.url, secret, streams: names, batch: 20 }]),
  }
  const httpPort = await findPort()
  const nodes = new Map<Name, NodeProcess>()
  const start = async (name: Name) => {
    const own: Record<string, string> = name === 'push' ? { LEDGERLINE_HTTP_PORT: `${httpPort}` } : {}
    nodes.set(name, await startProcess(t, t.testdirName, {
      ...env, LEDGERLINE_NODE_ID: name, LEDGERLINE_ROLES: rolesOf[name], ...own,
    }))
  }
  await Promise.all((Object.keys(rolesOf) as Name[]).map(start))

  const url = `http://127.0.0.1:${httpPort}`
  const curls = { lines: new Map<string, CurlReader>(), events: new Map<string, CurlReader>() }
  for (const name of names) {
    curls.lines.set(name, new CurlReader(t, `${url}/v1/streams/${name}`, apiKey, 'ndjson'))
    curls.events.set(name, new CurlReader(t, `${url}/v1/streams/${name}`, apiKey, 'sse'))
  }
  const directory = t.testdir({ profile: {} })
  const sources = browserMissing ? undefined : await EventSources.open(t, directory, { url, key: apiKey }, names)

  const clients = Array.from({ length: 6 }, (_, i) =>
    new BusyClient({ userId: `user${i}`, deviceId: 'phone', transport: 'tcp', outstanding: 1, everyMs: 200 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  const opened = new Map(clients.map(({ userId }) => [userId, new Set<string>()]))
  const awake = new Set(clients)
  const ending = new AbortController()
  const lives = clients.map(async client => {
    while (!ending.signal.aborted) {
      if (awake.has(client) && !client.isOpen && await client.open(nodes.get('edge')!)) {
        opened.get(client.userId)!.add(client.connected!.connectionId)
      }
      await wait(50)
    }
  })
  /** Until it is taken: with the same id, for an answer may have been lost. */
  const send = async (path: string, body: object) => {
    await until(async () => {
      const status = await request(nodes.get('push')!, path, body).then(({ status }) => status, () => 0)
      return status >= 200 && status < 300
    }, 100)
  }
  const isTaken = (type: string, messageId: string, userId: string) => receiver.taken.some(event =>
    event.type === type && event.data.messageId === messageId && event.data.userId === userId)

  const killed = Object.keys(rolesOf) as Name[]
  await t.test('through kill -9 of', async t => {
    for (const [round, name] of killed.entries()) {
      await t.test(`the node with ${rolesOf[name]}`, async () => {
        await until(() => clients.every(({ isOpen }) => isOpen), 50)
        const [away, here] = [clients.slice(0, 2), clients.slice(2)]
        for (const client of away) {
          awake.delete(client)
          client.vanish()
        }
        const sending = (async () => {
          for (let i = 0; i < sendsOfRound; i++) {
            await Promise.all([
              ...rooms.map(room => send(`/v1/rooms/${room}/posts`, { messageId: `${round}.${i}`, payload: 'a post' })),
              ...clients.map(({ userId }) =>
                send('/v1/downlinks', { to: { userIds: [userId] }, messageId: `${round}.${i}`, payload: 'a downlink' })),
            ])
          }
        })()
        await wait(300)
        await nodes.get(name)!.kill('SIGKILL')
        await wait(1_000)
        await start(name)
        await sending
        await until(() => here.every(({ seen }) => seen.length === sendsOfRound * (round + 1)), 50)
        // Of who is away, each is handed over before it comes back and acks.
        await until(() => away.every(({ userId }) => isTaken('offline.due', `${round}.${sendsOfRound - 1}`, userId)), 50)
        for (const client of away) awake.add(client)
        await until(() => clients.every(({ seen }) => seen.length === sendsOfRound * (round + 1)), 50)
      })
    }
  })
  t.strictSame(Object.values(rolesOf).join().split(',').sort(), [...roles].sort(), 'which is every role')

  for (const client of clients) client.busy = false
  await until(() => clients.every(({ isOpen, unacked }) => isOpen && unacked === 0), 50)
  awake.clear()
  for (const client of clients) await client.leave()
  ending.abort()
  await Promise.all(lives)
  for (const { userId, complaints } of clients) t.strictSame(complaints, [], `${userId} has nothing to complain of`)
  await auditOfTopics(t, kafka.brokers, prefix)

  const events = (name: string) => receiver.taken.filter(({ type }) => type.startsWith(`${streams[name]!.event}.`))
  const deadline = Date.now() + readWithinMs
  const ways: Record<string, (name: string) => Promise<readonly Data[]> | readonly Data[]> = {
    'curl, as lines': name => curls.lines.get(name)!.lines,
    'curl, as events': name => curls.events.get(name)!.lines,
    ...sources && { 'an EventSource': name => sources.lines(name) },
    'a Standard Webhooks verifier': name => events(name).map(({ data }) => data),
  }
  /** How many each has, where that is known. */
  const each = sendsOfRound * killed.length
  const sent: Record<string, Map<string, number>> = {
    uplinks: new Map(clients.map(({ userId, ackedSeq }) => [userId, ackedSeq])),
    receipts: new Map(clients.map(({ userId }) => [userId, each])),
    posts: new Map(rooms.map(room => [room, each])),
  }
  for (const name of names) {
    await t.test(`${name}:`, async t => {
      const topic = await heard(brokers, prefix, name)
      const wanted = inOrder(name, topic.map(({ record }) => record))
      for (const { key, messageId, record } of topic) {
        if (key === streams[name]!.owner(record) && messageId === streams[name]!.id(record)) continue
        t.fail(`${messageId} of ${key} is ${JSON.stringify(record)}`)
      }
      for (const [owner, ids] of Object.entries(wanted)) {
        const known = opened.get(owner)
        if (name === 'connections') t.ok([...known!].every(id => ids.includes(id)), `the topic has all of ${owner}`)
        else t.strictSame(ids, numbered(owner, sent[name]?.get(owner) ?? ids.length), `the topic has all of ${owner}`)
      }
      for (const [way, came] of Object.entries(ways)) {
        const count = Object.values(wanted).flat().length
        let found = {}
        await until(async () => {
          found = inOrder(name, await came(name))
          return Object.values(found).flat().length >= count || Date.now() > deadline
        }, 200)
        t.strictSame(found, wanted, `${way} has each, and each user's in order`)
      }
      const ids = new Set(events(name).map(({ id, data }) => `${streams[name]!.id(data)} ${id}`))
      t.equal(ids.size, new Set(events(name).map(({ id }) => id)).size, 'a repeat has the id of the first')
    })
  }
  t.strictSame(receiver.forged, [], 'every request is signed')
  for (const curl of [...curls.lines.values(), ...curls.events.values()]) t.ok(curl.runs > 1, 'its node was killed')
})
