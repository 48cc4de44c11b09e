import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import { hostOf, urlByIp, webSocketUrl, withQuery } from '../../client/platform.js'
import { newSessionId } from '../../client/session-id.js'
import { buildBundle } from './bundle.js'
import { givenWebSocketServer } from './websocket-server.js'

const app = fileURLToPath(new URL('bare-app.js', import.meta.url))

t.test('The client for browsers', async t => {
  const bundle = t.testdir()
  buildBundle(bundle)
  for (const [kind, where] of [['phone', 'where there is no TextDecoder, crypto or URL'], ['page', 'on a page without a secure context']]) {
    await t.test(`works ${where}`, async t => {
      const server = await givenWebSocketServer(t)
      const { href } = pathToFileURL(`${bundle}/client/ledgerline-client.min.js`)
      const child = spawn(process.execPath, [app, kind!, href, server.url])
      t.teardown(() => child.kill('SIGKILL'))
      const [said, complaint] = await Promise.all([text(child.stdout), text(child.stderr)])
      t.equal(complaint, '')
      t.equal(said, '{"messageId":"m ☃","seq":1}\n')
      const uplink = server.frames.find(({ op }) => op === 'uplink')
      t.match(uplink, { payload: Buffer.from('got ☃') })
      t.match(server.frames[0], { sessionId: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/ })
    })
  }
})

t.test('Session ids', async t => {
  t.test('differ', async t => {
    t.equal(new Set(Array.from({ length: 1000 }, newSessionId)).size, 1000)
  })
})

t.test('URLs', async t => {
  t.test('get a path, an address, and parameters', async t => {
    t.equal(webSocketUrl('ws://a:1'), 'ws://a:1/v1/connect')
    t.equal(webSocketUrl('wss://a/?x=1'), 'wss://a/v1/connect?x=1')
    t.equal(webSocketUrl('wss://a/own'), 'wss://a/own')
    t.equal(urlByIp({ url: 'https://a.example:1/x', ip: '192.0.2.1' }), 'https://192.0.2.1:1/x')
    t.equal(urlByIp({ url: 'https://me@a.example?x', ip: '2001:db8::1' }), 'https://me@[2001:db8::1]?x')
    t.equal(urlByIp({ url: 'ws://[::1]:8/', ip: '192.0.2.1' }), 'ws://192.0.2.1:8/')
    t.equal(withQuery('http://a', { transport: 'ws' }), 'http://a?transport=ws')
    t.equal(withQuery('http://a/b?c=d#e', { region: 'ü &', x: 'y' }), 'http://a/b?c=d&region=%C3%BC%20%26&x=y#e')
    t.equal(hostOf('https://a.example:1/x?y'), 'a.example:1')
  })
})
