import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { BusyClient } from '../faults/busy-client.js'
import { apiKey, request, startProcess, until } from '../faults/node-process.js'

const program = fileURLToPath(new URL('../../../examples/push-adapter/main.js', import.meta.url))

/** A push vendor that keeps what it was sent, and fails at first as vendors do. */
async function givenVendor (t: Test) {
  const told: string[] = []
  const bodies: any[] = []
  const failures: Array<[status: number, headers: object]> = [[503, {}], [429, { 'retry-after': '1' }]]
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', text => { body += text }).on('end', () => {
      const failure = failures.shift()
      if (failure) {
        response.writeHead(failure[0], failure[1] as Record<string, string>).end()
        return
      }
      const id = body === '' ? decodeURIComponent(request.url!.split('/').at(-1)!) : JSON.parse(body).id
      told.push(`${request.method} ${id}`)
      if (body !== '') bodies.push(JSON.parse(body))
      response.writeHead(202).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { told, bodies, failures, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

t.test('The adapter of a push vendor', { timeout: 120_000 }, async t => {
  const vendor = await givenVendor(t)
  const node = await startProcess(t, t.testdir(), { LEDGERLINE_OFFLINE_AFTER_MS: '500' })
  const start = () => {
    const adapter = spawn(process.execPath, [program], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { PATH: process.env['PATH'], GATEWAY: node.http, KEY: apiKey, VENDOR: vendor.url },
    })
    const exit = once(adapter, 'exit')
    const kill = async () => {
      adapter.kill('SIGKILL')
      await exit
    }
    t.teardown(kill)
    return kill
  }
  const push = (userId: string, messageId: string, more: object = {}) =>
    request(node, '/v1/downlinks', { to: { userIds: [userId] }, messageId, payload: 'come back', ...more })
  const kill = start()
  await push('ann', 'm1')
  await push('ann', 'silent', { offlineAfterMs: 0 })
  await until(() => vendor.told.length === 1, 50)
  t.strictSame(vendor.told, ['POST ann/m1'], 'has the vendor wake a device, though it fails twice')
  t.equal(vendor.failures.length, 0)
  t.match(vendor.bodies, [{ userId: 'ann', deviceIds: [], data: 'come back' }])

  await kill()
  await push('bob', 'm2')
  const client = new BusyClient({ userId: 'ann', deviceId: 'phone', transport: 'tcp', outstanding: 1 })
  t.teardown(() => { client.stop() })
  t.equal(await client.open(node), true)
  await until(() => client.seen.length === 2)
  start()
  const wanted = ['POST ann/m1', 'DELETE ann/m1', 'POST bob/m2']
  await until(() => wanted.every(each => vendor.told.includes(each)), 50)
  t.strictSame([...new Set(vendor.told)].sort(), wanted.sort(), 'goes on where it was, and takes back what was acked')
})
