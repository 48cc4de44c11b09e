import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { createClient } from '../../client/node.js'
import { startProcess, tokenFor } from '../faults/node-process.js'

/** As many load balancers do: it ends a connection on which so long nothing came from the server. */
const idleMs = 60_000

async function givenProxy (t: Test, port: number): Promise<number> {
  const server = createServer(client => {
    const upstream = connect(port, '127.0.0.1')
    const end = () => {
      clearTimeout(timer)
      client.destroy()
      upstream.destroy()
    }
    const timer = setTimeout(end, idleMs)
    upstream.on('data', () => timer.refresh())
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    client.pipe(upstream)
    upstream.pipe(client)
    t.teardown(end)
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

t.test('Idle clients behind a proxy that forgets after a minute', { timeout: 600_000 }, async t => {
  const gateway = await startProcess(t, t.testdir())
  const tcp = await givenProxy(t, Number(new URL(gateway.tcp).port))
  const ws = await givenProxy(t, Number(new URL(gateway.http).port))
  const lost: string[] = []
  const clients = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const token = await tokenFor(`user${i}`)
    const endpoints = i % 2 ? `tcp://127.0.0.1:${tcp}` : `ws://127.0.0.1:${ws}`
    const client = createClient({ endpoints, getToken: () => token, deviceId: 'd' })
    client.on('disconnected', ({ code, reason }) => { if (client.state !== 'closed') lost.push(`${i}: ${code} ${reason}`) })
    t.teardown(() => client.close())
    await client.connect().ready()
    return client
  }))
  await sleep(130_000) // twice as long as the proxy bears, and more
  t.strictSame(lost, [], 'are not disconnected')
  t.strictSame(clients.filter(({ state }) => state !== 'connected'), [])
})
