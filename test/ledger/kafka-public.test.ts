import avsc, { type Type } from 'avsc'
import { execFile, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { traceparentOf } from '../../ledger/kafka/format.js'
import { kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { findPython, pythonMissing } from '../cluster/python.js'
import { redisMissing, startRedis } from '../cluster/redis.js'
import { registryMissing, startRegistry } from '../cluster/registry.js'
import { findExecutable } from '../cluster/server-process.js'
import { BusyClient } from '../faults/busy-client.js'
import { type NodeProcess, startProcess, tryProcess, until } from '../faults/node-process.js'

/*
  What others see of the streams: kcat, Python and kafkajs, none of them with a line of ours. The schemas come from
  their files, and the programs from docs/streams.md.
*/

const home = fileURLToPath(new URL('../../../', import.meta.url))
const run = promisify(execFile)
const python = findPython()

const missing = kafkaMissing() ?? redisMissing() ??
  (findExecutable('kcat') ? false : 'needs kcat: apt-get install kcat')

/** A program of docs/streams.md: the first block in `language` that has `text` in it. */
function example (language: string, text: string): string {
  const page = readFileSync(join(home, 'docs/streams.md'), 'utf8')
  const blocks = [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code!)
  return blocks.find(code => code.includes(text))!
}

function schemaOf (stream: string): Type {
  return avsc.Type.forSchema(JSON.parse(readFileSync(join(home, `schemas/streams/${stream}.avsc`), 'utf8')))
}

interface Seen { readonly key: string, readonly headers: Record<string, string>, readonly value: Buffer }

/** Everything in a topic, as kcat has it. */
async function kcat (broker: string, topic: string): Promise<Seen[]> {
  const args = ['-C', '-q', '-b', broker, '-t', topic, '-o', 'beginning', '-e', '-f', '%k\\t%h\\t%R%s']
  const { stdout } = await run('kcat', args, { encoding: 'buffer', maxBuffer: 1 << 26 })
  const seen: Seen[] = []
  for (let at = 0; at < stdout.length;) {
    const keyEnd = stdout.indexOf('\t', at)
    const headersEnd = stdout.indexOf('\t', keyEnd + 1)
    const valueStart = headersEnd + 5
    const pairs = `${stdout.subarray(keyEnd + 1, headersEnd)}`.split(',').map(pair => pair.split('=', 2))
    const key = `${stdout.subarray(at, keyEnd)}`
    at = valueStart + stdout.readUInt32BE(headersEnd + 1)
    seen.push({ key, headers: Object.fromEntries(pairs), value: stdout.subarray(valueStart, at) })
  }
  return seen
}

/** The first `count` lines that a program writes; it is ended then. */
async function linesOf (
  t: Test, command: string, args: string[], env: Record<string, string>, count: number
): Promise<string[]> {
  const child = spawn(command, args, { cwd: home, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => { child.kill('SIGKILL') })
  let text = ''
  let problems = ''
  let ended = false
  child.stdout.on('data', chunk => { text += chunk })
  child.stderr.on('data', chunk => { problems += chunk })
  child.on('close', () => { ended = true })
  const lines = () => text.split('\n').slice(0, -1).filter(line => !line.startsWith('{')) // kafkajs logs in JSON
  await until(() => ended || lines().length >= count)
  child.kill('SIGKILL')
  if (lines().length < count) t.comment(problems)
  return lines()
}

/** Ann is connected to `node` and has sent some uplinks, all of them acked. */
async function connectAnn (t: Test, node: NodeProcess): Promise<BusyClient> {
  const ann = new BusyClient({ userId: 'ann', deviceId: 'phone', transport: 'tcp', outstanding: 5 })
  t.teardown(() => { ann.stop() })
  await until(() => ann.open(node), 50)
  await until(() => ann.acked.size >= 20)
  ann.busy = false
  await until(() => ann.unacked === 0)
  return ann
}

t.test('The public streams', { skip: missing }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const [broker] = kafka.brokers as [string]
  const directory = t.testdir()
  const env = { KAFKA_BROKERS: broker, REDIS_URL: redis.url, LEDGERLINE_PARTITIONS: '2', LEDGERLINE_LEASE_MS: '3000' }
  const outside = outsideKafka([broker])
  const producer = outside.producer()
  await producer.connect()
  t.teardown(() => producer.disconnect())
  const start = (more: Record<string, string> = {}) => startProcess(t, directory, { ...env, ...more })

  await t.test('without a schema registry', async t => {
    const node = await start()
    t.teardown(() => node.kill('SIGTERM'))
    const ann = await connectAnn(t, node)
    const sent = ann.acked.size
    const topic = 'ledgerline.uplinks'
    await until(async () => (await kcat(broker, topic)).length >= sent, 200)

    await t.test('have a topic each, and one for what is rejected; saved states have one, too', async t => {
      const admin = outside.admin()
      await admin.connect()
      t.teardown(() => admin.disconnect())
      const topics = (await admin.listTopics()).filter(name => name.startsWith('ledgerline.')).sort()
      const ofStreams = [
        'connections', 'downlinks', 'ledger', 'nodes', 'offline', 'posts', 'presence', 'receipts', 'rooms',
        'undelivered', 'uplinks',
      ]
        .flatMap(stream => [`ledgerline.${stream}`, `ledgerline.${stream}.rejected`])
      t.strictSame(topics, [...ofStreams, 'ledgerline.states', 'ledgerline.states.rooms'].sort())
    })

    await t.test('are read by kcat, each record with its key, headers and schema', async t => {
      const uplinks = await kcat(broker, topic)
      const userSeqs = Array.from({ length: sent }, (_, i) => i + 1)
      t.strictSame(uplinks.map(({ value }) => schemaOf('uplinks').fromBuffer(value.subarray(10)).userSeq), userSeqs)
      t.strictSame(uplinks.map(({ key }) => key), userSeqs.map(() => 'ann'))
      for (const [i, { headers, value }] of uplinks.entries()) {
        const id = `ann/${i + 1}`
        t.match(headers, { 'content-type': 'avro/single-object', 'message-id': id, traceparent: traceparentOf(id) })
        t.equal(value.toString('hex', 0, 10), 'c3019f185a92b53fbdae')
      }
      const nodes = await kcat(broker, 'ledgerline.nodes')
      const [first] = nodes.map(({ value }) => schemaOf('nodes').fromBuffer(value.subarray(10)))
      t.match(first, { nodeId: 'n1', fact: { 'ledgerline.NodeStarted': { region: 'local', leaseMs: 3000 } } })
      const { stdout } = await run('sh', ['-c', example('sh', 'kcat -C')], { env: { ...process.env, ...env } })
      t.match(stdout, /^n1 content-type=avro\/single-object,message-id=n1\//)
    })

    // As a takeover may: records that are there already, once more.
    const copies = (await kcat(broker, topic)).slice(-3)
    await producer.send({ topic, messages: copies.map(({ key, value }) => ({ key, value })) })
    const uplinks = await kcat(broker, topic)
    t.equal(uplinks.length, sent + 3)
    // What the readers are to do last: they have then met every repeat.
    const type = schemaOf('uplinks')
    const copy = copies[2]!.value
    const last = { ...type.fromBuffer(copy.subarray(10)), userSeq: sent + 1, payload: Buffer.from('last') }
    const value = Buffer.concat([copy.subarray(0, 10), type.toBuffer(last)])
    await producer.send({ topic, messages: [{ key: 'ann', value }] })
    const once = [...Array.from({ length: sent }, (_, i) => `ann ${i + 1} ann/phone ${i + 1}`), `ann ${sent + 1} last`]

    await t.test('are read by kafkajs, with repeats dropped', async t => {
      const code = example('js', 'highest')
      t.strictSame(await linesOf(t, process.execPath, ['--input-type=module', '-e', code], env, sent + 1), once)
    })

    await t.test('are read by Python, with repeats dropped', {
      skip: pythonMissing() ?? false,
    }, async t => {
      t.strictSame(await linesOf(t, python!, ['-c', example('python', 'highest')], env, sent + 1), once)
    })

    await t.test('take a command from kcat to the client', async t => {
      const file = join(directory, 'command.avro')
      await run(process.execPath, ['--input-type=module', '-e', example('js', 'writeFileSync'), file], { cwd: home })
      await run('sh', ['-c', example('sh', 'kcat -P')], { cwd: directory, env: { ...process.env, ...env } })
      await until(() => ann.seen.length > 0)
      t.strictSame(ann.seen, [{ seq: 1, messageId: 'order-7' }])
    })

    await t.test('keep a command that can not be sent, with the reason', async t => {
      const command = readFileSync(join(directory, 'command.avro'))
      const wrong = Buffer.concat([command.subarray(0, 10), schemaOf('downlinks').toBuffer({
        ...schemaOf('downlinks').fromBuffer(command.subarray(10)), messageId: 'late', ttlMs: 0,
      })])
      const ofRegistry = Buffer.concat([Buffer.from('0000000007', 'hex'), command.subarray(10)])
      const values = [wrong, Buffer.from('poison'), ofRegistry]
      for (const [i, value] of values.entries()) {
        const file = join(directory, `broken-${i}`)
        writeFileSync(file, value)
        await run('kcat', ['-P', '-b', broker, '-t', 'ledgerline.downlinks', '-k', 'ann', file])
      }
      await until(async () => (await kcat(broker, 'ledgerline.downlinks.rejected')).length >= 3, 200)
      const type = schemaOf('downlinks-rejected')
      const rejected = (await kcat(broker, 'ledgerline.downlinks.rejected'))
        .map(({ key, value }) => ({ key, ...type.fromBuffer(value.subarray(10)) }))
      const told = rejected.map(({ key, userId, code, reason }) => [key, userId, code, reason.replace(/^\d@\d+/, 'P@O')])
      t.strictSame(told.sort((a, b) => `${a}`.localeCompare(`${b}`)), [
        ['', '', 'bad-record', 'P@O: does not start with an Avro single-object header'],
        ['', '', 'bad-record', 'P@O: is in Confluent wire format, and no schema registry is configured'],
        ['ann', 'ann', 'bad-request', 'ttlMs: want 1 to 2592000000'],
      ])
      t.ok(rejected.some(({ command }) => command.equals(values[1]!)), 'the bytes are kept')
      t.equal(ann.seen.length, 1)
      t.strictSame(ann.complaints, [])
    })
  })

  await t.test('with a schema registry', { skip: registryMissing() ?? false }, async t => {
    const { url } = await startRegistry(t)
    const more = { SCHEMA_REGISTRY_URL: url, LEDGERLINE_TOPIC_PREFIX: 'registered' }
    const ask = async (path: string) => await (await fetch(url + path)).json() as any
    const node = await start(more)
    t.teardown(() => node.kill('SIGTERM'))
    const ann = await connectAnn(t, node)
    await until(async () => (await kcat(broker, 'registered.uplinks')).length >= ann.acked.size, 200)

    await t.test('have their schemas there, each as the one of its topic', async t => {
      const subjects: string[] = await ask('/subjects')
      t.strictSame(subjects.filter(subject => !subject.includes('.rejected')).sort(),
        ['connections', 'downlinks', 'nodes', 'offline', 'posts', 'presence', 'receipts', 'undelivered', 'uplinks']
          .map(stream => `registered.${stream}-value`))
      const { schema } = await ask('/subjects/registered.uplinks-value/versions/latest')
      t.strictSame(JSON.parse(schema), JSON.parse(readFileSync(join(home, 'schemas/streams/uplinks.avsc'), 'utf8')))
    })

    await t.test('are read by kcat through the ids of the registry', async t => {
      for (const stream of ['uplinks', 'nodes']) {
        const seen = await kcat(broker, `registered.${stream}`)
        const { value, headers } = seen[0]!
        t.equal(headers['content-type'], 'avro/confluent')
        t.equal(value[0], 0)
        const type = avsc.Type.forSchema(JSON.parse((await ask(`/schemas/ids/${value.readUInt32BE(1)}`)).schema))
        const item = type.fromBuffer(value.subarray(5))
        t.match(item, stream === 'uplinks' ? { userId: 'ann', userSeq: 1 } : { nodeId: 'n1' })
      }
    })

    await t.test('keep a node from starting whose schema the registry finds incompatible', async t => {
      const tell = (method: string, path: string, body: object) => fetch(url + path, {
        method, headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' }, body: JSON.stringify(body),
      })
      const schema = JSON.parse(readFileSync(join(home, 'schemas/streams/uplinks.avsc'), 'utf8'))
      const without = { ...schema, fields: schema.fields.slice(1) }
      await tell('POST', '/subjects/refused.uplinks-value/versions', { schema: JSON.stringify(without) })
      await tell('PUT', '/config/refused.uplinks-value', { compatibility: 'BACKWARD' })
      const outcome = await tryProcess(t, t.testdir(), { ...env, ...more, LEDGERLINE_TOPIC_PREFIX: 'refused' })
      t.ok('stderr' in outcome, 'it ends')
      const told = 'stderr' in outcome ? outcome.stderr + JSON.stringify(outcome.lines) : ''
      t.match(told, /refused\.uplinks-value: our schema is not compatible with the latest one there/)
    })

    await t.test('take commands in either encoding to the client', async t => {
      const { id } = await ask('/subjects/registered.downlinks-value/versions/latest')
      const type = schemaOf('downlinks')
      const command = (messageId: string) =>
        type.toBuffer({ messageId, userIds: ['ann'], service: '', payload: Buffer.from('x'), ttlMs: 60_000 })
      const head = Buffer.alloc(5)
      head.writeUInt32BE(id, 1)
      await producer.send({
        topic: 'registered.downlinks',
        messages: [
          { key: 'ann', value: Buffer.concat([head, command('by-id')]) },
          { key: 'ann', value: Buffer.concat([Buffer.from('c30125f418373d4a1079', 'hex'), command('by-header')]) },
        ],
      })
      await until(() => ann.seen.length === 2)
      t.strictSame(ann.seen.map(({ messageId }) => messageId), ['by-id', 'by-header'])
      t.strictSame(ann.complaints, [])
    })
  })
})

t.test('docs/streams.md', async t => {
  t.test('names the header of each stream as its schema has it', async t => {
    const { fingerprintOf, headerBytes, writeHeader } = await import('../../schemas/single-object.js')
    const page = readFileSync(join(home, 'docs/streams.md'), 'utf8')
    const rows = [...page.matchAll(/^\| `([a-z.]+)` \|.* `(c301[0-9a-f]+)` \|$/gm)]
    t.equal(rows.length, 10)
    for (const [, stream, hex] of rows) {
      const header = Buffer.alloc(headerBytes)
      const file = join(home, `schemas/streams/${stream!.replace('.', '-')}.avsc`)
      writeHeader(fingerprintOf(JSON.parse(readFileSync(file, 'utf8'))), header, 0)
      t.equal(hex, header.toString('hex'), stream!)
    }
  })
})
