import { readFileSync } from 'node:fs'
import t from 'tap'
import { decodeMessage, encodeMessage } from '../../client/compact-codec.js'
import { frameBytes } from '../../client/transport-tcp.js'
import { decodeFrame, decodeFrameJson, encodeFrameJson, opcodes } from '../../schemas/frame-codec.js'
import { frameFields } from '../../schemas/frame-fields.js'
import type { ClientFrame, Frame } from '../../schemas/frames.js'
import { givenClient, givenEdge } from '../client/given.js'
import type { Peer } from '../client/given.js'
import { conversations, conversationsMarkdown, frameOf, framesMarkdown, frameVectors } from './vectors.js'
import type { Step } from './vectors.js'

t.test('frames.json', async t => {
  t.test('has every frame', async t => {
    t.strictSame([...new Set(frameVectors.map(({ frame }) => frame.op))].sort(), Object.keys(opcodes).sort())
  })
  for (const { frame: fields, tcp, webSocketAvro, webSocketJson } of frameVectors) {
    t.test(`is what both codecs make of ${webSocketJson}`, async t => {
      const frame = frameOf(fields)
      const bytes = frameBytes(frame as ClientFrame, 4)
      bytes.writeUInt32BE(bytes.length - 4)
      t.equal(bytes.toString('hex'), tcp)
      t.equal(bytes.subarray(4).toString('hex'), webSocketAvro)
      t.equal(encodeFrameJson(frame), webSocketJson)
      t.strictSame(decodeFrame(bytes, 4, bytes.length), frame)
      t.strictSame(decodeFrameJson(webSocketJson), frame)
      t.strictSame(JSON.parse(webSocketJson), fields)
      t.equal(Buffer.from(encodeMessage(frame as ClientFrame, 'avro')).toString('hex'), webSocketAvro)
      t.equal(encodeMessage(frame as ClientFrame, 'json'), webSocketJson)
      t.same(decodeMessage(Uint8Array.from(Buffer.from(webSocketAvro, 'hex'))), frame)
      t.same(decodeMessage(webSocketJson), frame)
    })
  }
})

t.test('conversations.json', async t => {
  for (const { name, heartbeat = 'dictated', steps } of conversations.conversations) {
    t.test(`is what the client does: ${name}`, async t => {
      const edges = { first: await givenEdge(t), other: await givenEdge(t) }
      let token = 't'
      const told: unknown[] = []
      const client = givenClient(t, [edges.first.url], {
        getToken: ({ isExpired }) => {
          if (isExpired && token === 't') token = 'fresh' // the application that no step tells of
          return token
        },
        heartbeat,
      })
      client.on('downlink', downlink => {
        if (downlink.text() === 'poison') throw new Error('poison')
        told.push({ downlink: downlink.text() })
      })
      client.on('failed', () => {})
      client.on('skipped', ({ seq }) => told.push({ skipped: seq }))
      client.on('missed', ({ count }) => told.push({ missed: count }))
      client.on('disconnected', ({ code, willReconnect }) => { if (!willReconnect) told.push({ ended: code }) })
      for (const step of steps.slice(0, 1)) if ('app' in step && step.app === 'has the token') token = step.what
      client.connect()
      const sessions: string[] = []
      let edge = edges.first
      let peer: Peer | undefined
      for (const step of steps) await run(step)

      async function run (step: Step): Promise<void> {
        if ('client' in step) {
          peer ??= await edge.peer()
          const frame = await peer.any()
          if (frame.op === 'connect' && !sessions.includes(frame.sessionId)) sessions.push(frame.sessionId)
          t.match(named(frame), frameOf(fieldsOf(step.client)), JSON.stringify(step.client))
        } else if ('server' in step) {
          peer ??= await edge.peer()
          const { endpoints } = step.server
          peer.send(frameOf({
            ...fieldsOf(step.server), ...Array.isArray(endpoints) ? { endpoints: [edges.other.url] } : {},
          }) as any)
        } else if ('connection' in step) {
          if (step.connection === 'lost') peer!.end()
          if (step.connection === 'closed') await peer!.closed()
          if (step.connection === 'moved to the other') edge = edges.other
          peer = undefined
        } else if (step.app === 'has the token') {
          token = step.what
        } else if (step.app === 'joins') {
          const room = client.room(step.what)
          room.on('post', post => { told.push({ post: post.text() }) })
          room.on('missed', ({ count }) => { told.push({ missedPosts: count }) })
          room.on('left', ({ code }) => { told.push({ left: code }) })
        } else if (step.app === 'posts') {
          client.room('chat:7').post(step.what).then(({ seq }) => told.push({ accepted: seq }), ({ code }) => told.push({ refused: code }))
        } else if (step.app === 'sends') {
          client.send(step.what).then(({ seq, userSeq }) => told.push({ accepted: seq, userSeq }), () => {})
        } else {
          while (told.length === 0) await new Promise(resolve => setImmediate(resolve))
          t.match(told.shift(), step.what)
        }
      }

      /** With the session named as the vectors do. */
      function named (frame: Frame): object {
        if (frame.op !== 'connect') return frame
        return { ...frame, sessionId: `S${sessions.indexOf(frame.sessionId) + 1}` }
      }
    })
  }
})

t.test('docs/sdk-writers.md', async t => {
  const page = readFileSync(new URL('../../../docs/sdk-writers.md', import.meta.url), 'utf8')
  t.test('shows every frame of the vectors', async t => { t.ok(page.includes(framesMarkdown())) })
  t.test('shows every conversation of the vectors', async t => { t.ok(page.includes(conversationsMarkdown())) })
})

function fieldsOf (fields: { readonly op: Frame['op'] }): any {
  const frame: any = { ...conversations.defaults[fields.op], ...fields }
  for (const { name } of frameFields[fields.op]) {
    if (!(name in frame)) throw new Error(`${fields.op} of a conversation has no ${name}`)
  }
  return frame
}
