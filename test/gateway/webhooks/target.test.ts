import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { Target } from '../../../gateway/webhooks/target.js'
import { webhooksIn } from '../../../gateway/webhooks/setting.js'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { type Receiver, secret, startReceiver } from './receiver.js'

async function given (t: Test, more: object = {}): Promise<{ receiver: Receiver, target: Target }> {
  const receiver = await startReceiver(t)
  const entry = { name: 'crm', url: receiver.url, secret, streams: ['uplinks'], timeoutMs: 300, ...more }
  const target = new Target(webhooksIn(JSON.stringify([entry]), () => true)[0]!, '1.2.3')
  t.teardown(() => target.close())
  return { receiver, target }
}

t.test('The server of a webhook', async t => {
  t.test('gets the body at the path that is configured, signed', async t => {
    const { receiver, target } = await given(t)
    t.strictSame(await target.post('msg_1', '{"id":"msg_1","type":"x"}'), { type: 'delivered', status: 204, answer: '' })
    const [{ path, headers, events }] = receiver.received as any
    t.equal(path, '/hook?tenant=7')
    t.match(headers, { 'content-type': 'application/json', 'user-agent': 'ledgerline/1.2.3', 'webhook-id': 'msg_1' })
    t.strictSame(events, [{ id: 'msg_1', type: 'x' }])
  })

  t.test('is spoken to over TLS, if an authority of its caFile vouches for it', { skip: opensslMissing() ?? false }, async t => {
    const { ca, server } = await makeCertificates(t)
    const [cert, key] = [readFileSync(server.cert), readFileSync(server.key)]
    const listening = createTlsServer({ cert, key }, (_request, response) => { response.writeHead(204).end() })
    listening.listen(0, '127.0.0.1')
    t.teardown(() => listening.close())
    await once(listening, 'listening')
    const url = `https://localhost:${(listening.address() as AddressInfo).port}/hook`
    const { target } = await given(t, { url, caFile: ca, timeoutMs: 10_000 })
    t.match(await target.post('msg_1', '{}'), { type: 'delivered', status: 204 })
    const { target: stranger } = await given(t, { url, timeoutMs: 10_000 })
    t.match(await stranger.post('msg_1', '{}'), { type: 'failed', status: 0 })
  })

  for (const [status, verdict] of [
    [200, { type: 'delivered' }],
    [400, { type: 'refused', status: 400 }],
    [404, { type: 'refused' }],
    [408, { type: 'failed', fault: 'record' }],
    [409, { type: 'failed', fault: 'record' }],
    [410, { type: 'gone', status: 410 }],
    [425, { type: 'failed', fault: 'record' }],
    [429, { type: 'failed', fault: 'server' }],
    [500, { type: 'failed', fault: 'unclear' }],
    [503, { type: 'failed', status: 503, fault: 'server' }],
  ] as const) {
    t.test(`that answers with ${status} has said: ${verdict.type}`, async t => {
      const { receiver, target } = await given(t)
      receiver.answer = () => status
      t.match(await target.post('msg_1', '{}'), verdict)
    })
  }

  t.test('that redirects leads nowhere', async t => {
    const { receiver, target } = await given(t)
    const other = await startReceiver(t)
    for (const status of [301, 302, 303, 307, 308]) {
      receiver.answer = (_, response) => {
        response.writeHead(status, { location: other.url, refresh: `0; url=${other.url}`, 'alt-svc': `h2="127.0.0.1:${other.port}"` }).end()
      }
      t.match(await target.post('msg_1', '{}'), { type: 'failed', status, fault: 'record', reason: /redirects are not followed/ })
    }
    receiver.answer = () => 204
    t.match(await target.post('msg_1', '{}'), { type: 'delivered' })
    t.strictSame([other.received.length, other.forged.length], [0, 0])
  })

  t.test('may say for how long it is to be left alone', async t => {
    const { receiver, target } = await given(t)
    for (const [header, ms] of [['7', 7_000], [new Date(Date.now() + 9_000).toUTCString(), 9_000]] as const) {
      receiver.answer = (_, response) => { response.writeHead(429, { 'retry-after': header }).end() }
      const verdict = await target.post('msg_1', '{}')
      const { retryAfterMs = 0 } = verdict as { retryAfterMs?: number }
      t.ok(retryAfterMs > ms - 2_000 && retryAfterMs <= ms, `${retryAfterMs}`)
    }
  })

  t.test('that hangs before its status has not answered in time; one that hangs behind it has', async t => {
    const { receiver, target } = await given(t)
    receiver.answer = () => {}
    t.match(await target.post('msg_1', '{}'), { type: 'failed', status: 0, fault: 'unclear', reason: 'no answer within 300 ms' })
    receiver.answer = (_, response) => { response.writeHead(200, { 'content-length': '100' }).write('x') }
    t.match(await target.post('msg_2', '{}'), { type: 'delivered' })
    receiver.answer = () => 204
    t.match(await target.post('msg_3', '{}'), { type: 'delivered' })
  })

  t.test('that answers without end costs no more memory than an answer may', async t => {
    const { receiver, target } = await given(t, { reply: true, timeoutMs: 5_000 })
    let written = 0
    receiver.answer = (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536
        if (!response.destroyed) response.once('drain', more)
      }
      response.writeHead(200)
      more()
    }
    t.match(await target.post('msg_1', '{}'), { type: 'failed', status: 200, fault: 'record', reason: /more than 262144 bytes/ })
    t.ok(written < 64 << 20)
  })

  t.test('that is not there, or speaks no HTTP, is away', async t => {
    const { receiver, target } = await given(t)
    await receiver.close()
    t.match(await target.post('msg_1', '{}'), { type: 'failed', status: 0, fault: 'server', reason: /ECONNREFUSED/ })
    const server = createServer(socket => { socket.end('hello\r\n') })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    t.teardown(() => server.close())
    const { port } = server.address() as { port: number }
    const { target: other } = await given(t, { url: `http://127.0.0.1:${port}/` })
    t.match(await other.post('msg_1', '{}'), { type: 'failed', status: 0, fault: 'unclear' })
  })

  t.test('is read only where its answers count', async t => {
    for (const reply of [true, false]) {
      const { receiver, target } = await given(t, { reply })
      receiver.answer = (_, response) => { response.writeHead(200).end('{"downlinks":[]}') }
      t.strictSame(await target.post('msg_1', '{}'),
        { type: 'delivered', status: 200, answer: reply ? '{"downlinks":[]}' : '' })
    }
  })
})
