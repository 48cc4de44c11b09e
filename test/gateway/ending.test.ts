import { pino } from 'pino'
import t from 'tap'
import { WebSocket } from 'ws'
import type { EventLog } from '../../ledger/log.js'
import { readConfig } from '../../gateway/read-config.js'
import { startNode } from '../../gateway/main.js'
import { openEmbeddedStores } from '../../gateway/stores-embedded.js'
import { apiKey, jwtSecret, request, tokenFor, until } from '../faults/node-process.js'

t.test('A node that stops keeps its followers of the ledger until they know of the ends of its own connections', async t => {
  const trace: string[] = []
  const node = await startNode(readConfig({
    LEDGERLINE_DATA: t.testdir(),
    LEDGERLINE_HTTP_PORT: '0',
    LEDGERLINE_TCP_PORT: '0',
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_API_KEYS: apiKey,
  }), pino({ enabled: false }), undefined, async (config, logger) => {
    const stores = await openEmbeddedStores(config, logger)
    tellOfEnds(stores.log, trace)
    return {
      ...stores,
      async delivered () {
        trace.push('delivers')
        await new Promise(resolve => setTimeout(resolve, 50))
        trace.push('has delivered')
      },
    }
  })
  t.teardown(() => node.stop())
  const hello = JSON.stringify({ op: 'connect', token: await tokenFor('ann'), deviceId: 'phone', sessionId: 's1' })
  let isStopping = false
  const connect = () => {
    const socket = new WebSocket(`${node.http.replace(/^http/, 'ws')}/v1/connect`)
    t.teardown(() => { socket.terminate() })
    socket.on('open', () => { socket.send(hello) })
    // A node that has just started on a busy machine may ask a client to come again.
    socket.on('close', () => { if (!isStopping) connect() })
  }
  connect()
  await until(async () => (await request(node, '/v1/users/ann/presence')).body.online)
  isStopping = true
  await node.stop()
  t.strictSame(trace.slice(0, 3), ['appends ConnectionClosed', 'delivers', 'has delivered'])
  t.strictSame(new Set(trace.slice(3)), new Set(['stops']), 'and only then they stop')
})

function tellOfEnds (log: EventLog, trace: string[]): void {
  const append = log.append.bind(log)
  log.append = (stream, partition, items, ...options) => {
    if (items.some((item: any) => item.fact?.type === 'ConnectionClosed')) trace.push('appends ConnectionClosed')
    return append(stream, partition, items, ...options)
  }
  const follow = log.follow.bind(log)
  log.follow = async (stream, group, follower) => {
    const following = await follow(stream, group, follower)
    return {
      ...following,
      async stop () {
        if (stream.name === 'ledger') trace.push('stops')
        await following.stop()
      },
    }
  }
}
