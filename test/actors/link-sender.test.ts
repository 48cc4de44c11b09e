import type { Redis } from 'ioredis'
import t from 'tap'
import { decodeBatch } from '../../actors/link-batch.js'
import { LinkSender } from '../../actors/link-sender.js'
import type { LinkMessage } from '../../actors/link-codec.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { loadSchema } from '../../schemas/avsc-files.js'
import { fingerprintOf, readHeader } from '../../schemas/single-object.js'

t.test('What nodes of the versions before can not read goes in batches of its own, in order with the others', async t => {
  const batches: Buffer[] = []
  const publisher = { spublish: async (_channel: string, bytes: Buffer) => batches.push(Buffer.from(bytes)) }
  const sender = new LinkSender({
    publisher: publisher as unknown as Redis,
    nodeId: 'n1',
    pendingBytesMax: 1 << 20,
    health: nobodyWatches,
    notHere () {},
    nobodyAcks () {},
  })
  const to = { nodeId: 'n2', connectionId: 'c1' }
  const ack = (seq: number): LinkMessage => ({ type: 'ackUplinks', ...to, seq, userSeqs: [seq] })
  const kick = (by: string): LinkMessage => ({ type: 'closeConnection', ...to, code: 'kicked', reason: 'enough', by })
  const bans = (by: string): LinkMessage => ({
    type: 'bansKnown',
    nodeId: 'n2',
    askId: 1,
    bans: [{ banId: 'b', deviceId: '', tokenId: '', untilMs: 0, reason: 'spam', bannedAtMs: 5, by }],
  })
  const sent = [ack(1), ack(2), kick('k1'), kick('k2'), bans('k1'), ack(3), kick(''), bans(''), ack(4)]
  for (const message of sent) sender.send('node:n2', 'n2', message)
  await sender.stop()

  const ages = new Map([['history/links-6', 'one before'], ['links', 'newest']].map(([name, age]) =>
    [fingerprintOf(loadSchema(name!)), age]))
  const read = batches.map(bytes => decodeBatch(bytes, 'n2').messages)
  t.strictSame(read.flat(), sent)
  t.strictSame(batches.map((bytes, i) => [ages.get(readHeader(bytes)!) ?? 'older', read[i]!.length]),
    [['older', 2], ['one before', 2], ['newest', 1], ['older', 4]])
})
