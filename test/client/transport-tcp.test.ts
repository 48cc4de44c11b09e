import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { openTcp } from '../../client/transport-tcp.js'
import { decodeFrame } from '../../schemas/frame-codec.js'

t.test('What a turn sends on a TCP socket reaches the server, also where the socket is destroyed in the same turn', async t => {
  const received = new Promise<Buffer>(resolve => {
    const server = createServer(socket => {
      const chunks: Buffer[] = []
      socket.on('data', chunk => { chunks.push(chunk) })
      socket.on('error', () => {})
      socket.on('close', () => { resolve(Buffer.concat(chunks)) })
    })
    t.teardown(() => { server.close() })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      const transport = openTcp({ url: `tcp://127.0.0.1:${port}` }, {
        opened () {
          transport.send({ op: 'ping', downlinkSeq: 7, silentMs: 0 })
          transport.send({ op: 'disconnect', endSession: false })
          transport.destroy()
        },
        received () {},
        closed () {},
      })
    })
  })
  const bytes = await received
  const [first] = [4 + bytes.readUInt32BE(0)]
  t.match(decodeFrame(bytes, 4, first), { op: 'ping', downlinkSeq: 7 })
  t.match(decodeFrame(bytes, first + 4, bytes.length), { op: 'disconnect', endSession: false })
})
