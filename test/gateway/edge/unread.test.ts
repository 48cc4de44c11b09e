import { connect } from 'node:net'
import t from 'tap'
import { startTestNode, until } from '../node.js'
import { alive, connected, connectFrame } from './dialects.js'
import { connect as connectFrameOf, givenConnection, openConnection, turn, verified } from './given-connection.js'
import { rawFrame, text, upgradeRequest } from './raw-websocket.js'

const tooMuch = (1 << 20) + 1

t.test('A client that does not read what it is sent', async t => {
  for (const phase of ['new', 'verifying', 'opening', 'open'] as const) {
    t.test(`is ended past 1 MiB, while its connection is ${phase}`, async t => {
      const client = phase === 'open' ? await openConnection(t) : givenConnection(t)
      if (phase === 'verifying' || phase === 'opening') client.received(connectFrameOf)
      if (phase === 'verifying') await until('connect is taken', () => client.phase() === 'verifying')
      if (phase === 'opening') await verified(client)
      t.equal(client.phase(), phase)
      client.queues(tooMuch - 1)
      client.connection.wakeUp() // as a ping of WebSocket's own does, which no phase forbids
      await turn()
      t.equal(client.phase(), phase, 'not before')
      client.queues(tooMuch)
      client.connection.wakeUp()
      await turn()
      t.equal(client.phase(), 'closing')
      t.match(client.written.at(-1), { op: 'error', code: 'slow-consumer' })
    })
  }

  for (const when of ['before', 'after']) {
    t.test(`and pings without a rest, ${when} connect, is ended with what waits for it bounded`, async t => {
      const node = await startTestNode(t)
      const { client: neighbour } = await connected(t, node, 'TCP', 'neighbour')
      const before = await node.closed('slow-consumer')
      const socket = connect({ host: '127.0.0.1', port: node.httpPort })
      t.teardown(() => { socket.destroy() })
      socket.on('error', () => {})
      socket.write(upgradeRequest('ledgerline.v1.json'))
      await new Promise(resolve => { socket.once('data', resolve) })
      if (when === 'after') socket.write(rawFrame(text, Buffer.from(JSON.stringify(await connectFrame(node, 'pinger')))))
      socket.pause()
      const pings = Buffer.concat(Array.from({ length: 500 }, () => rawFrame(0x89, Buffer.alloc(125))))
      await until('it is ended', async () => {
        for (let i = 0; i < 10 && socket.writableLength < 1 << 20; i++) socket.write(pings)
        return await node.closed('slow-consumer') > before
      })
      await alive(t, neighbour)
    })
  }
})
