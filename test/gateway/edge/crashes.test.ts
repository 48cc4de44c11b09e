import t from 'tap'
import { until } from '../node.js'
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
})
