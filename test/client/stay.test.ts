import { SignJWT } from 'jose'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createClient, inMemory } from '../../client/node.js'
import { jwtSecret, request, startProcess, until } from '../faults/node-process.js'

async function tokenFor (seconds: number): Promise<string> {
  return await new SignJWT().setProtectedHeader({ alg: 'HS256' }).setSubject('ann')
    .setExpirationTime(Math.floor(Date.now() / 1000) + seconds).sign(Buffer.from(jwtSecret))
}

t.test('A client that stays with a gateway', { jobs: 3 }, async t => { // they wait, mostly
  const gateway = await startProcess(t, t.testdir(), {
    LEDGERLINE_CLOCK_TOLERANCE_MS: '0', LEDGERLINE_HEARTBEAT_MS: '1000',
  })

  t.test('outlives its token', async t => {
    let asked = 0
    const client = createClient({
      endpoints: gateway.tcp, deviceId: 'phone', getToken: async () => await tokenFor(asked++ === 0 ? 10 : 3600),
    })
    t.teardown(() => client.close())
    const lost: string[] = []
    client.on('disconnected', ({ code, reason }) => { lost.push(`${code} ${reason}`) })
    await client.connect().ready()
    await sleep(11_500)
    t.match(await client.send('still here'), { seq: 1 })
    t.strictSame([lost, asked], [[], 2])
  })

  t.test('goes on behind a downlink that it can not digest, which trace calls skipped', async t => {
    const token = await tokenFor(3600)
    const client = createClient({ endpoints: gateway.tcp, deviceId: 'tablet', getToken: () => token, handlerAttemptsMax: 1 })
    t.teardown(() => client.close())
    const seen: string[] = []
    client.on('downlink', downlink => {
      downlink.json()
      seen.push(downlink.messageId)
    })
    await client.connect().ready()
    const skipped = client.once('skipped')
    for (const [messageId, payload] of [['bad', 'no JSON'], ['good', '{}']]) {
      await request(gateway, '/v1/downlinks', { to: { userIds: ['ann'] }, messageId, payload })
    }
    t.match(await skipped, { messageId: 'bad' })
    await until(() => seen.includes('good'))
    let text = ''
    await until(async () => {
      text = (await request(gateway, '/v1/users/ann/trace?messageId=bad')).text
      return /skipped/.test(text)
    }, 50)
    t.match(text, /JSON/)
  })

  t.test('is left alone in the silence that it told of', async t => {
    const token = await tokenFor(3600)
    const client = createClient({
      endpoints: gateway.tcp,
      deviceId: 'watch',
      getToken: () => token,
      heartbeat: 'adaptive',
      storage: { ...inMemory(), open: async () => new Map([['heartbeat/', '3000']]) },
    })
    t.teardown(() => client.close())
    const lost: string[] = []
    client.on('disconnected', ({ code, reason }) => { lost.push(`${code} ${reason}`) })
    await client.connect().ready()
    await sleep(7_000)
    t.strictSame(lost, [], 'which is longer than 2.5 heartbeats')
  })
})
