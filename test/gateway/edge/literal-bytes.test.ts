import t from 'tap'
import { startTestNode, TcpClient } from '../node.js'

/** `{"alg":"HS256"}`, `{"sub":"ann"}`, signed with the secret of the tests' nodes: 83 characters. */
const token = Buffer.from(
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.-mgULToeHeuuidgTskoHs-d0IchRBicV-ryJpxKVBjk').toString('hex')

/** Token, device `phone`, platform `ios`, client `app/1`, session `s1`, downlinkSeq 0: 106 bytes with the opcode. */
const connect = `0000006a 01 a601${token} 0a70686f6e65 06696f73 0a6170702f31 047331 00`

/** Ends with resumed, uplinkSeq, downlinkSeq, missed, heartbeatMs 45000, uplinkWindow 256, frameBytesMax 65536. */
const connected = (tail: string) => new RegExp(
  // connectionId of 16 characters, nodeId `n1`, userId `ann`, and a serverTimeMs of 6 bytes behind it all
  `^02 20([0-9a-f]{2}){16} 046e31 06616e6e ${tail} 90bf05 8004 808008 ([0-9a-f]{2}){6}$`.replaceAll(' ', ''))

const hex = async (client: TcpClient) => (await client.next()).toString('hex')
const nothingElse = async (client: TcpClient) => (await client.closed()).map(frame => frame.toString('hex'))

t.test('A client of hand-written bytes over TCP', async t => {
  t.test('holds a conversation to the letter', async t => {
    const node = await startTestNode(t)
    const client = await TcpClient.open(t, node)
    client.send(connect)
    t.match(await hex(client), connected('00 00 00 00'))

    client.send('0000000b 03 02 0863686174 0268 00 00') // uplink 1 to `chat`: `h`, written as 4 and 1 bytes
    t.equal(await hex(client), '0402020200', 'uplinkAck: seq 1, one userSeq, 1')
    client.send('00000006 03 04 00 00 00 00', '0000000d 03 06 00 0e 00ff00ff00ff00 01 00')
    const acks = await hex(client)
    if (acks === '0404020400') t.equal(await hex(client), '0406020600', 'uplinkAck: seq 3 with userSeq 3')
    else t.equal(acks, '040604040600', 'uplinkAck: seq 3, two userSeqs, 2 and 3')

    await node.push('ann', 'hi', { messageId: 'm1', service: 'chat' })
    t.match(await hex(client), /^0602046d310863686174046869([0-9a-f]{2}){6}$/, 'downlink 1: m1, chat, hi')
    client.send('00000002 07 02') // downlinkAck 1
    client.send('00000003 08 02 00') // ping with downlinkSeq 1
    t.equal(await hex(client), '0906', 'pong: uplinkSeq 3')
    client.send('00000002 0f 00') // disconnect
    t.strictSame(await nothingElse(client), [])

    const again = await TcpClient.open(t, node)
    again.send(connect.replace(/00$/, '02'))
    t.match(await hex(again), connected('01 06 02 00'), 'resumed, uplinkSeq 3, downlinkSeq 1, none missed')
    again.send('00000002 0f 01') // disconnect with endSession
    t.strictSame(await nothingElse(again), [])
    t.strictSame(node.logged, [])
  })

  t.test('may cut its frames anywhere', async t => {
    const node = await startTestNode(t)
    const client = await TcpClient.open(t, node)
    const bytes = Buffer.from(`${connect} 0000000b 03 02 0863686174 0268 00 00 00000003 08 00 00`.replaceAll(' ', ''), 'hex')
    for (const byte of bytes) {
      client.write(Buffer.of(byte))
      await new Promise(resolve => setImmediate(resolve))
    }
    t.match(await hex(client), connected('00 00 00 00'))
    const [ack, pong] = [await hex(client), await hex(client)].sort()
    t.equal(ack, '0402020200')
    t.match(pong, /^090[02]$/, 'a pong says what is acked, and that may be behind')
  })
})
