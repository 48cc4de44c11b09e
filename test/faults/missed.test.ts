import { pino } from 'pino'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { readConfig } from '../../gateway/read-config.js'
import { startNode } from '../../gateway/main.js'
import { auditOfDirectory } from './audit.js'
import { apiKey, jwtSecret, request, tokenFor, until } from './node-process.js'

t.test('A gap in the downlinks', async t => {
  t.test('is announced again to a client that went away before it said anything', async t => {
    const directory = t.testdir()
    const node = await startNode(readConfig({
      LEDGERLINE_DATA: directory,
      LEDGERLINE_HTTP_PORT: '0',
      LEDGERLINE_TCP_PORT: '0',
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_API_KEYS: apiKey,
    }), pino({ enabled: false }))
    t.teardown(() => node.stop())
    const push = (messageId: string, ttlMs: number) => request(node, '/v1/downlinks', {
      to: { userIds: ['ann'] }, messageId, ttlMs, payload: 'hi',
    })
    const offline = () => until(async () => !(await request(node, '/v1/users/ann/presence')).body.online)

    const first = await connected(t, node.http, 0)
    await push('m1', 1)
    await until(() => first.frames.some(({ op }) => op === 'downlink'))
    first.socket.terminate()
    await offline()
    const second = await connected(t, node.http, 0)
    t.match(second.frames[0], { op: 'connected', downlinkSeq: 1, missed: 1 })
    // The edge reports what it writes, a tenth of a second later: that must not count as an answer of the client's.
    await push('m2', 60_000)
    await until(() => second.frames.some(({ messageId }) => messageId === 'm2'))
    await new Promise(resolve => setTimeout(resolve, 300))
    second.socket.terminate()
    await offline()
    const third = await connected(t, node.http, 0)
    t.match(third.frames[0], { op: 'connected', downlinkSeq: 1, missed: 1 })
    third.socket.send(JSON.stringify({ op: 'ping', downlinkSeq: 1 }))
    await until(() => third.frames.some(({ op }) => op === 'pong'))
    third.socket.terminate()
    await offline()
    const fourth = await connected(t, node.http, 1)
    t.match(fourth.frames[0], { op: 'connected', downlinkSeq: 1, missed: 0 }, 'and not to one that has answered')
    await node.stop()
    await auditOfDirectory(t, directory)
  })
})

/** A connection that reads and says nothing; its first frame is the answer to `connect`. */
async function connected (t: Test, http: string, downlinkSeq: number) {
  const socket = new WebSocket(`${http.replace(/^http/, 'ws')}/v1/connect`)
  t.teardown(() => { socket.terminate() })
  const frames: any[] = []
  const token = await tokenFor('ann')
  socket.on('message', data => { frames.push(JSON.parse(String(data))) })
  const hello = JSON.stringify({ op: 'connect', token, deviceId: 'phone', sessionId: 's1', downlinkSeq })
  if (socket.readyState === WebSocket.OPEN) socket.send(hello)
  else socket.on('open', () => { socket.send(hello) })
  await until(() => frames.length > 0)
  return { socket, frames }
}
