import t from 'tap'
import { type NodeProcess, randomFrom, request, startProcess, until } from './node-process.js'
import { Traffic } from './traffic.js'
import { secret, WebhookService } from './webhook-service.js'

const seed = Number(process.env['LEDGERLINE_TEST_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
/** The numbers of each user, as the stream has them. */
async function uplinksOf (node: NodeProcess): Promise<Map<string, number[]>> {
  const { text } = await request(node, '/v1/uplinks')
  const seqs = new Map<string, number[]>()
  for (const line of text.split('\n').filter(line => line !== '')) {
    const { userId, userSeq } = JSON.parse(line)
    seqs.set(userId, [...seqs.get(userId) ?? [], userSeq])
  }
  return seqs
}

function countOf (seqs: ReadonlyMap<string, readonly number[]>): number {
  return [...seqs.values()].reduce((sum, { length }) => sum + length, 0)
}

t.comment(`LEDGERLINE_TEST_SEED=${seed} repeats the moments of the kills`)

for (const batch of [1, 20]) {
  t.test(`No uplink is missing at a webhook (batches of ${batch}) after kill -9 of gateway and service`, async t => {
    const directory = t.testdir({ data: {} })
    const random = randomFrom(seed + batch)
    const service = await WebhookService.start(t, directory)
    const webhook = { name: 'crm', url: service.url, secret, streams: ['uplinks'], batch, timeoutMs: 2_000 }
    const start = () => startProcess(t, `${directory}/data`, { LEDGERLINE_WEBHOOKS: JSON.stringify([webhook]) })
    let node = await start()
    const traffic = new Traffic(t, random)
    traffic.goTo([node])
    for (let kill = 1; kill <= 4; kill++) {
      const enough = traffic.acked + 100 + Math.trunc(1_000 * random())
      await until(() => traffic.acked >= enough)
      await new Promise(resolve => setTimeout(resolve, 50 * random()))
      if (kill % 2 === 0) {
        await service.kill()
        await until(() => traffic.acked >= enough + 200)
        await service.startAgain()
      } else {
        traffic.goTo([])
        await node.kill('SIGKILL')
        node = await start()
        traffic.goTo([node])
      }
    }
    await traffic.pause()
    // What was acked last is in the stream with one of the next commits.
    let wanted = new Map<string, number[]>()
    await until(async () => {
      wanted = await uplinksOf(node)
      return countOf(wanted) >= traffic.acked && countOf(service.first()) >= countOf(wanted)
    })
    t.comment(`${countOf(wanted)} uplinks, ${service.taken().length} with repeats`)
    t.strictSame([...service.first()].sort(), [...wanted].sort(), 'each came, and those of each user in order')
    await traffic.leave()
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
  })
}
