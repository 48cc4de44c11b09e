import t from 'tap'
import { createClient } from '../../client/node.js'
import { auditOfDirectory } from './audit.js'
import { request, startProcess, tokenFor, until } from './node-process.js'
import { startProxy } from './proxy.js'

const size = 500
const pushesBefore = 10
const pushesAfter = 10

/** Limits as they are by default: all of these clients have one address. */
const limits = { LEDGERLINE_FRAME_RATE: '100', LEDGERLINE_ACCEPT_RATE: '200' }

for (const transport of ['tcp', 'ws'] as const) {
  t.test(`${size} clients of one address that are cut at once, over ${transport}`, { timeout: 600_000 }, async t => {
    const directory = t.testdir()
    const node = await startProcess(t, directory, limits)
    const port = Number(new URL(node[transport === 'tcp' ? 'tcp' : 'http']).port)
    const proxy = await startProxy(t, () => port)
    const endpoint = transport === 'tcp' ? `tcp://127.0.0.1:${proxy.port}` : `ws://127.0.0.1:${proxy.port}/v1/connect`
    const members = await Promise.all(Array.from({ length: size }, async (_, i) => {
      const token = await tokenFor(`user${i}`)
      return new Member(createClient({ endpoints: [endpoint], getToken: () => token, deviceId: 'd' }))
    }))
    t.teardown(async () => { await Promise.all(members.map(async ({ client }) => { await client.close() })) })
    for (const { client } of members) {
      client.connect()
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    const gone = () => members.flatMap(({ ended }) => ended)
    const areConnected = () => gone().length > 0 || members.every(({ isConnected }) => isConnected)
    await until(areConnected, 50)

    const userIds = members.map((_, i) => `user${i}`)
    const push = async (i: number) => {
      const downlink = { to: { userIds }, messageId: `m${i}`, payload: `${i}` }
      await until(async () => (await request(node, '/v1/downlinks', downlink)).status === 202)
    }
    for (let i = 0; i < pushesBefore; i++) await push(i)
    proxy.cut()
    const cutAtMs = performance.now()
    for (let i = 0; i < pushesAfter; i++) await push(pushesBefore + i)
    await until(areConnected, 50)
    t.comment(`all are back after ${Math.round(performance.now() - cutAtMs)} ms`)

    t.strictSame(gone(), [], 'none is ended')
    const all = Array.from({ length: pushesBefore + pushesAfter }, (_, i) => `${i}`)
    await until(() => members.every(({ got }) => got.length >= all.length), 50)
    for (const { got } of members) t.strictSame(got, all, 'each has everything once and in order')
    await node.kill('SIGTERM')
    await auditOfDirectory(t, directory)
  })
}

class Member {
  isConnected = false
  readonly ended: string[] = []
  readonly got: string[] = []

  constructor (readonly client: ReturnType<typeof createClient>) {
    client.on('connected', () => { this.isConnected = true })
    client.on('disconnected', ({ code, willReconnect }) => {
      this.isConnected = false
      if (!willReconnect) this.ended.push(code)
    })
    client.on('downlink', ({ payload }) => { this.got.push(Buffer.from(payload).toString()) })
  }
}
