import avsc from 'avsc'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Kafka, logLevel } from 'kafkajs'
import t, { type Test } from 'tap'
import { singleObjectFormat } from '../../ledger/kafka/format.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { ConfluentFormat, RegistryLog } from '../../ledger/kafka/registry.js'
import { rejectedStream } from '../../ledger/rejected.js'
import type { Health } from '../../schemas/conditions.js'
import type { DownlinkRecord, DownlinkRejected } from '../../schemas/records.js'
import { SchemaRegistry } from '../../schemas/registry.js'
import { downlinks, downlinksRejected, uplinks } from '../../schemas/streams.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { registryMissing, startRegistry } from '../cluster/registry.js'
import { until } from '../faults/node-process.js'

const command: DownlinkRecord = {
  messageId: 'm1',
  userIds: ['ann'],
  service: 'orders',
  payload: Buffer.from('shipped'),
  ttlMs: 1000,
  delivery: 'durable',
  platforms: [],
  exceptDevices: [],
  devices: [],
  app: '',
  receipts: true,
  offlineAfterMs: -1,
  replaces: '',
  roomId: '',
}

/** What a business service has that was written for another version: it names no platforms, and has more to say. */
const theirSchema = {
  type: 'record',
  name: 'DownlinkCommand',
  namespace: 'com.example',
  fields: [
    { name: 'messageId', type: 'string' },
    { name: 'tags', type: { type: 'map', values: 'string' } },
    { name: 'userIds', type: { type: 'array', items: 'string' } },
    { name: 'payload', type: 'bytes' },
    { name: 'ttlMs', type: 'int' },
  ],
}
const theirs = avsc.Type.forSchema(theirSchema as avsc.Schema)
const theirCommand = theirs.toBuffer(
  { messageId: 'm2', tags: { of: 'theirs' }, userIds: ['ann'], payload: Buffer.from('paid'), ttlMs: 5 })

function wire (id: number, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + body.length)
  bytes.writeUInt32BE(id, 1)
  bytes.set(body, 5)
  return bytes
}

/** Gives every schema an id, and none twice. */
async function startOurRegistry (t: Test) {
  const state = { away: false, cuts: false, incompatible: [] as string[], asked: [] as string[], authorization: '' }
  const schemas: string[] = []
  const server = createServer(async (request, response) => {
    const path = request.url!
    let body = ''
    for await (const chunk of request) body += chunk
    state.asked.push(`${request.method} ${path}`)
    state.authorization = request.headers.authorization ?? ''
    const answer = (status: number, value: object) => { response.writeHead(status).end(JSON.stringify(value)) }
    if (state.cuts) return response.destroy()
    if (state.away) return answer(503, { message: 'is being deployed' })
    const [, id] = /^\/base\/schemas\/ids\/(\d+)$/.exec(path) ?? []
    if (id !== undefined) {
      const schema = schemas[Number(id) - 1]
      return schema === undefined ? answer(404, { error_code: 40403, message: 'Schema not found' }) : answer(200, { schema })
    }
    const { schema } = JSON.parse(body)
    const known = schemas.indexOf(schema) + 1
    if (/^\/base\/subjects\/[\w.-]+$/.test(path)) return known ? answer(200, { id: known }) : answer(404, { error_code: 40401 })
    if (path.includes('/compatibility/')) return answer(200, { is_compatible: state.incompatible.length === 0, messages: state.incompatible })
    answer(200, { id: schemas.push(schema) })
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close().closeAllConnections() })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/base`,
    state,
    put: (schema: object | string) => schemas.push(typeof schema === 'string' ? schema : JSON.stringify(schema)),
  }
}

t.test('The client of a schema registry', async t => {
  t.test('appends its paths to that of the URL, and sends the credentials in it', async t => {
    const { url, state } = await startOurRegistry(t)
    const registry = new SchemaRegistry(`${url.replace('//', '//ann:se%3Acret@')}/`)
    t.equal(await registry.register('test.downlinks-value', downlinks.schema), 1)
    t.strictSame(state.asked, [
      'POST /base/subjects/test.downlinks-value',
      'POST /base/compatibility/subjects/test.downlinks-value/versions/latest?verbose=true',
      'POST /base/subjects/test.downlinks-value/versions',
    ])
    t.equal(state.authorization, `Basic ${Buffer.from('ann:se:cret').toString('base64')}`)
    t.equal(registry.url, url, 'and keeps them out of messages')
  })

  t.test('registers a schema once', async t => {
    const { url, state } = await startOurRegistry(t)
    const registry = new SchemaRegistry(url)
    t.equal(await registry.register('s', downlinks.schema), await registry.register('s', downlinks.schema))
    t.equal(state.asked.filter(path => path.endsWith('/versions')).length, 1)
  })

  t.test('says why a schema is incompatible', async t => {
    const { url, state } = await startOurRegistry(t)
    state.incompatible.push('field x has no default')
    const said = 's: our schema is not compatible with the latest one there: field x has no default'
    await t.rejects(new SchemaRegistry(url).register('s', downlinks.schema), { message: `schema registry ${url}: ${said}` })
  })

  t.test('waits at the start for a registry that is away', async t => {
    const { url, state } = await startOurRegistry(t)
    state.away = true
    const registered = new SchemaRegistry(url).register('s', downlinks.schema)
    await until(() => state.asked.length === 2)
    state.away = false
    t.equal(await registered, 1)
  })

  t.test('does not take the page of a proxy for a schema that is missing', async t => {
    const server = createServer((request, response) => { response.writeHead(404).end('<h1>Not Found</h1>') })
      .listen(0, '127.0.0.1')
    t.teardown(() => { server.close().closeAllConnections() })
    await once(server, 'listening')
    const registry = new SchemaRegistry(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await t.rejects(registry.schema(1), { name: 'RegistryAway', message: 'HTTP 404, no reason given' })
  })

  t.test('gets along with Apicurio', { skip: registryMissing() ?? false }, async t => {
    const { url } = await startRegistry(t)
    const registry = new SchemaRegistry(url)
    const id = await registry.register('test.downlinks-value', downlinks.schema)
    t.equal(await registry.register('test.downlinks-value', downlinks.schema), id)
    const nodes = Array.from({ length: 6 }, async () => await registry.register('test.uplinks-value', uplinks.schema))
    t.equal(new Set(await Promise.all(nodes)).size, 1, 'which gives nodes that start together the same id')
    t.strictSame(JSON.parse((await registry.schema(id))!.text), downlinks.schema)
    t.equal(await registry.schema(987_654), undefined)
    await fetch(`${url}/config/test.downlinks-value`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ compatibility: 'BACKWARD' }),
    })
    const { name, namespace, fields } = downlinks.schema as any
    const longer = { type: 'record', name, namespace, fields: [...fields, { name: 'more', type: 'string' }] }
    await t.rejects(registry.register('test.downlinks-value', longer), { message: /is not compatible with the latest one/ })
  })
})

t.test('Records in Confluent wire format', async t => {
  t.test('are the id of their schema and Avro binary', async t => {
    const { url } = await startOurRegistry(t)
    const format = await ConfluentFormat.open(new SchemaRegistry(url), 'test', [downlinksRejected, downlinks])
    const bytes = Buffer.from(format.encode(downlinks, command))
    t.equal(bytes.toString('hex'),
      '0000000002' + '046d31' + '0206616e6e00' + '0c6f7264657273' + '0e73686970706564' + 'd00f' + '00000000000001' + '01' + '00')
    t.strictSame(format.decode(downlinks, bytes), { ...command, payload: bytes.subarray(22, 29) })
  })

  t.test('are told apart from those in single-object encoding, with and without a registry', async t => {
    const { url } = await startOurRegistry(t)
    const format = await ConfluentFormat.open(new SchemaRegistry(url), 'test', [downlinks])
    t.match(format.decode(downlinks, Buffer.from(singleObjectFormat.encode(downlinks, command))), { messageId: 'm1' })
    t.throws(() => singleObjectFormat.decode(downlinks, Buffer.from(format.encode(downlinks, command))), {
      code: 'bad-record', message: 'is in Confluent wire format, and no schema registry is configured',
    })
  })
})

t.test('A registry that does not answer is asked by one at a time, whatever waits for it', async t => {
  const { url, state, put } = await startOurRegistry(t)
  const lasting = new Set<string>()
  const health: Health = {
    begin: (_name, _reason, what) => { lasting.add(what!) },
    end: (_name, what) => { lasting.delete(what!) },
  }
  const format = await ConfluentFormat.open(new SchemaRegistry(url), 'test', [downlinks], health)
  t.teardown(() => { format.close() })
  const ids = Array.from({ length: 50 }, (_, i) => put({ ...theirSchema, doc: `${i}` }))
  const before = state.asked.length
  state.cuts = true
  const leaving = new AbortController()
  const learned = ids.map(id => format.learn(id, leaving.signal))
  const isProbe = (path: string) => path === 'GET /base/schemas/ids/1' // of the schema that it has registered itself
  await until(() => format.circuit.state !== 'closed' && lasting.size === 50)
  await until(() => state.asked.slice(before).filter(isProbe).length >= 4)
  const others = state.asked.slice(before).filter(path => !isProbe(path))
  t.equal(others.length, 50, 'each that came before it was known has asked once')
  t.equal(format.circuit.opened, 1)
  state.cuts = false
  await Promise.all(learned)
  t.strictSame([...lasting], [])
  t.equal(format.circuit.state, 'closed')

  state.cuts = true
  const late = format.learn(put({ ...theirSchema, doc: 'late' }), leaving.signal)
  await until(() => format.circuit.state !== 'closed')
  leaving.abort()
  await late
  t.strictSame([...lasting], [], 'who leaves waits no longer')
})

t.test('A stream whose writers register their own schemas', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const { url, state, put } = await startOurRegistry(t)
  const told: string[] = []
  const problems: string[] = []
  const failed = (what: string, error: Error) => { problems.push(`${what}: ${error.message}`) }
  const health: Health = {
    begin: (name, reason, what) => { problems.push(`${name}, ${what}: ${reason}`) },
    end: (name, what) => { problems.push(`${name}, ${what}: over`) },
  }
  const format = await ConfluentFormat.open(new SchemaRegistry(url), 'test', [downlinks, downlinksRejected], health)
  const log = new RegistryLog(await openKafkaLog({
    brokers,
    topicPrefix: 'test',
    clientId: 'test',
    streams: [{ stream: downlinks, partitions: 1 }],
    format,
    onRejected: ({ stream, partition, offset }) => { told.push(`${stream} ${partition}@${offset}`) },
    failed,
  }), format)
  t.teardown(() => log.close())
  const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  t.teardown(() => producer.disconnect())
  const send = (...values: Buffer[]) => producer.send({ topic: 'test.downlinks', messages: values.map(value => ({ value })) })

  const received: DownlinkRecord[] = []
  const following = await log.follow(downlinks, 'push', {
    assigned: async (_, committed) => committed,
    received: ({ items }) => { received.push(...items) },
    revoked: async () => {},
  })
  const ids = () => received.map(({ messageId }) => messageId)

  await t.test('is read by our schema, with what they leave out at its default', async t => {
    await send(Buffer.from(format.encode(downlinks, command)), wire(put(theirSchema), theirCommand))
    await until(() => received.length === 2)
    t.match(received[1], {
      messageId: 'm2',
      userIds: ['ann'],
      service: '',
      ttlMs: 5,
      delivery: 'durable',
      platforms: [],
      exceptDevices: [],
      app: '',
      receipts: true,
      offlineAfterMs: -1,
      replaces: '',
    })
    t.equal(`${received[1]!.payload}`, 'paid')
  })

  await t.test('asks for each schema once', async t => {
    const asked = state.asked.length
    await send(wire(3, theirCommand), wire(3, theirCommand))
    await until(() => received.length === 4)
    t.equal(state.asked.length, asked)
  })

  await t.test('sets aside what no schema fits, and goes on', async t => {
    const bomb = Buffer.from('026d' + 'feffffff0f' + '00', 'hex')
    const nothings = put({
      ...theirSchema, fields: [{ name: 'nothings', type: { type: 'array', items: 'null' } }, ...theirSchema.fields],
    })
    await send(wire(987, theirCommand), wire(3, bomb), wire(nothings, Buffer.from('feffffff0f00', 'hex')),
      wire(put('"string"'), theirCommand), Buffer.from('000000', 'hex'),
      Buffer.from(singleObjectFormat.encode(downlinks, { ...command, messageId: 'm3' })))
    await until(() => ids().includes('m3'))
    const stream = rejectedStream(downlinks)
    const reasons: string[] = []
    await until(async () => {
      const rejected: DownlinkRejected[] = []
      for await (const { items } of log.read(stream, 0, { from: 0n })) rejected.push(...items)
      reasons.splice(0, Infinity, ...rejected.map(({ code, reason }) => `${code} ${reason}`).sort())
      return rejected.length === 5
    })
    t.strictSame(reasons, [
      'bad-record 0@4: the registry has no schema 987',
      'bad-record 0@5: 2147483647 items in 2 bytes',
      'bad-record 0@6: schema: items that may take no byte, so nothing bounds their count',
      'bad-record 0@7: schema 5 is not one of an Avro record: it is not a record',
      'bad-record 0@8: 3 bytes, too few for the id of a schema',
    ])
    t.strictSame(told.sort(), [4, 5, 6, 7, 8].map(offset => `downlinks 0@${offset}`), 'and tells of each once')
  })

  await t.test('waits while the registry is away', async t => {
    problems.length = 0
    state.away = true
    const id = put({ ...theirSchema, doc: 'another one' })
    await send(wire(id, theirCommand), Buffer.from(format.encode(downlinks, { ...command, messageId: 'm4' })))
    await until(() => problems.length >= 2)
    t.notOk(ids().includes('m4'), 'nothing behind the record is handed on')
    state.away = false
    await until(() => ids().includes('m4'))
    t.strictSame(ids().slice(-2), ['m2', 'm4'], 'and then in order')
    t.equal(problems[0], `schema-registry, schema ${id}: HTTP 503, is being deployed`)
    t.equal(problems.at(-1), `schema-registry, schema ${id}: over`)
    t.equal(format.circuit.state, 'closed', 'it did answer')
  })

  await t.test('can be left while the registry is away', async t => {
    state.away = true
    problems.length = 0
    await send(wire(put({ ...theirSchema, doc: 'yet another' }), theirCommand))
    await until(() => problems.length > 0)
    const before = received.length
    await following.stop()
    t.equal(received.length, before)
  })
})
