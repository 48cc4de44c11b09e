import t, { type Test } from 'tap'
import { startTestNode, TcpClient } from '../node.js'
import { ackedUpTo, alive, connected, connectFrame, endsWith, TcpSpeaker, uplinks } from './dialects.js'
import { avro, withLength } from './hand-avro.js'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

t.test('A raw TCP stream', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '4096' })
  const { client: bystander } = await connected(t, node, 'TCP', 'bystander')
  const badFrame = async (t: Test, ...bytes: Buffer[]) => {
    const client = await TcpClient.open(t, node)
    for (const part of bytes) client.write(part)
    await endsWith(t, new TcpSpeaker(client), 'bad-frame')
  }

  t.test('is refused at a length of 0, or above the bound before anything of the frame is there', async t => {
    await badFrame(t, hex('00000000'))
    await badFrame(t, hex('00001001'))
    await badFrame(t, hex('ffffffff'))
    await badFrame(t, hex('80000000 01'))
  })

  t.test('is refused when it ends within a frame', async t => {
    const connect = withLength(avro(await connectFrame(node, 'half')))
    for (const bytes of [1, 4, 5, connect.length - 1]) {
      const client = await TcpClient.open(t, node)
      client.socket.end(connect.subarray(0, bytes))
      await endsWith(t, new TcpSpeaker(client), 'bad-frame')
    }
    const { client } = await connected(t, node, 'TCP', 'half')
    ;(client as TcpSpeaker).client.socket.end(hex('00000009 03'))
    await endsWith(t, client, 'bad-frame')
  })

  t.test('that ends between frames is a goodbye, and what it brought counts', async t => {
    const { client } = await connected(t, node, 'TCP', 'polite')
    const { socket } = (client as TcpSpeaker).client
    socket.end(Buffer.concat(uplinks(1, 3).map(frame => withLength(avro(frame)))))
    const { left } = await client.closed()
    for (const { op } of left) t.equal(op, 'uplinkAck')
    t.equal((await connected(t, node, 'TCP', 'polite')).welcome.uplinkSeq, 3)
  })

  t.test('may have frames of exactly the bound', async t => {
    const { client } = await connected(t, node, 'TCP', 'exact')
    const payload = 'x'.repeat(4096 - 7) // opcode, seq, service, priority, roomId and two bytes of length
    client.send({ op: 'uplink', seq: 1, payload })
    t.strictSame(await ackedUpTo(client, 1), [1])
    client.send({ op: 'uplink', seq: 2, payload: payload + 'x' })
    await endsWith(t, client, 'bad-frame')
  })

  t.test('of another protocol is refused', async t => {
    await badFrame(t, Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await badFrame(t, hex('16030100f1010000ed0303'))
  })

  t.test('gets its last frame whole however much it still sends', async t => {
    const client = await TcpClient.open(t, node)
    client.send('00000000')
    for (let i = 0; i < 20; i++) client.write(Buffer.alloc(64 * 1024, i))
    await endsWith(t, new TcpSpeaker(client), 'bad-frame')
  })

  t.test('that is refused hurts nobody', async t => {
    await alive(t, bystander)
    t.strictSame(node.logged, [])
  })
})
