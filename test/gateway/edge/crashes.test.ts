import t from 'tap'
import { tcpEncoder, webSocketEncoder, webSocketJsonEncoder } from '../../../gateway/edge/encoders.js'
import { startTestNode, until } from '../node.js'
import { connected } from './dialects.js'
import { openConnection } from './given-connection.js'

t.test('A connection whose actor crashed', async t => {
  t.test('tells what went over it, and that nobody knows how far its acks count', async t => {
    const client = await openConnection(t)
    client.downlink(1)
    await until('it is written', () => client.written.some(({ op }) => op === 'downlink'))
    client.received({ op: 'downlinkAck', seq: 1 })
    client.crash()
    await until('it has ended', () => client.end() !== undefined)
    t.match(client.end(), {
      code: 'internal', told: false, framesIn: 3, writtenSeq: 1, ackedSeq: -1, downlinksWritten: 1, downlinksAcked: 1,
    })
  })

  t.test('tells of no ack where none came', async t => {
    const client = await openConnection(t)
    client.crash()
    await until('it has ended', () => client.end() !== undefined)
    t.match(client.end(), { code: 'internal', told: false, ackedSeq: 0, downlinksAcked: 0 })
  })

  const encoders = { TCP: tcpEncoder, 'WebSocket Avro': webSocketEncoder, 'WebSocket JSON': webSocketJsonEncoder }
  for (const [dialect, encoder] of Object.entries(encoders)) {
    t.test(`leaves nothing of what it wrote to the next one over ${dialect}`, async t => {
      const node = await startTestNode(t)
      const { client: ann } = await connected(t, node, dialect as keyof typeof encoders, 'ann')
      const { client: bob } = await connected(t, node, dialect as keyof typeof encoders, 'bob')
      const { write } = encoder
      encoder.write = frame => {
        write.call(encoder, frame)
        if (frame.op !== 'pong') return
        encoder.write = write
        throw new Error('planted')
      }
      t.teardown(() => { encoder.write = write })
      ann.send({ op: 'ping' })
      t.strictSame((await ann.closed()).left, [])
      bob.sendAll([{ op: 'uplink', seq: 1, service: 'chat', payload: 'hi' }, { op: 'ping' }])
      const heard = [(await bob.next()).op, (await bob.next()).op]
      t.strictSame([heard.sort(), bob.waiting], [['pong', 'uplinkAck'], 0])
    })
  }
})
