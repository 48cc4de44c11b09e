import t from 'tap'
import { createClient } from '../../client/node.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from './node-process.js'

const size = 320

t.test(`${size} clients of a node that may open 256 files`, { timeout: 450_000 }, async t => {
  const node = await startProcess(t, t.testdir(), {}, { descriptors: 256 })
  const clients = await Promise.all(Array.from({ length: size }, async (_, i) => {
    const token = await tokenFor(`user${i}`)
    const endpoint = i % 2 ? node.tcp : `${node.http.replace('http', 'ws')}/v1/connect`
    return createClient({ endpoints: [endpoint], getToken: () => token, deviceId: 'd' })
  }))
  const close = async () => { await Promise.all(clients.map(async client => { await client.close() })) }
  t.teardown(close)
  let connected = 0
  const ended: string[] = []
  for (const client of clients) {
    client.on('connected', () => { connected++ })
    client.on('disconnected', ({ code, willReconnect }) => {
      if (!willReconnect && code !== 'disconnected') ended.push(code)
    })
    client.connect()
  }

  t.test('leave its health within reach, which says what is wrong', async t => {
    await until(async () => (await askedOnceFor(node, 'descriptors'))?.ok === false, 100)
    await until(() => connected > 100, 100)
    for (let i = 0; i < 10; i++) {
      const { status, body } = await request(node, '/readyz')
      t.equal(status, 503)
      t.match(body.checks.descriptors, { ok: false, reason: /256/ })
    }
    t.strictSame(ended, [], 'nobody is ended for it')
  })

  t.test('are let in when there are descriptors again', async t => {
    for (const client of clients.splice(0, 200)) await client.close()
    const before = connected
    await until(() => connected > before, 100)
    await until(async () => (await request(node, '/readyz')).status === 200, 100)
  })

  t.test('are told about in the log, at the start and at the end', async t => {
    const told = () => node.lines.filter(({ condition }) => condition === 'descriptors').map(({ msg }) => msg)
    await until(() => told().length > 0 && told().length % 2 === 0, 50) // the log comes by another way than its answers
    t.strictSame(told().slice(0, 2), ['trouble has begun', 'trouble has ended'])
    t.ok(told().length <= 4, 'not for each client')
  })
})

/** What a check of `/readyz` says; undefined where nobody answers soon: the first rush takes what there is. */
async function askedOnceFor (node: NodeProcess, check: string): Promise<{ ok: boolean } | undefined> {
  try {
    const response = await fetch(`${node.http}/readyz`, { signal: AbortSignal.timeout(3_000) })
    return (await response.json() as { checks: Record<string, { ok: boolean }> }).checks[check]
  } catch {
    return undefined
  }
}
