import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { createClient } from '../../client/node.js'
import type { Client } from '../../client/node.js'
import { randomFrom, readUplinks, request, startProcess, tokenFor, until } from '../faults/node-process.js'
import type { NodeProcess } from '../faults/node-process.js'
import { findPort } from '../cluster/server-process.js'

const seed = Number(process.env['LEDGERLINE_TEST_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
t.comment(`LEDGERLINE_TEST_SEED=${seed} repeats the moments of the kills`)

/** A gateway that comes back at the same addresses. */
async function givenGateway (t: Test, directory: string) {
  const [http, tcp] = [String(await findPort()), String(await findPort())]
  const start = async () =>
    await startProcess(t, directory, { LEDGERLINE_HTTP_PORT: http, LEDGERLINE_TCP_PORT: tcp })
  const gateway = {
    node: await start(),
    ws: `ws://127.0.0.1:${http}`,
    tcp: `tcp://127.0.0.1:${tcp}`,
    async kill () { await gateway.node.kill('SIGKILL') },
    async restart () { gateway.node = await start() },
  }
  return gateway
}

/** Pushes numbered messages to users for as long as the test lets it. One that was not answered may come, or not. */
class Pusher {
  readonly sent = new Map<string, string[]>()
  isStopped = false
  #count = 0

  async run (node: () => NodeProcess, userIds: readonly string[]): Promise<void> {
    while (!this.isStopped) {
      const messageId = `m${++this.#count}`
      for (;;) {
        // The same id until it is answered, so that it is one message however often it was asked for.
        const answer = await request(node(), '/v1/downlinks', { to: { userIds }, messageId, payload: messageId })
          .catch(() => undefined)
        if (answer?.status === 202) break
        await new Promise(resolve => setTimeout(resolve, 20))
      }
      for (const userId of userIds) this.sent.set(userId, [...this.sent.get(userId) ?? [], messageId])
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
}

/** The user's uplinks in the stream, which is written a little later than acks are, once `last` is among them. */
async function published (node: NodeProcess, userId: string, last: number): Promise<string[]> {
  let payloads: string[] = []
  await until(async () => {
    payloads = (await readUplinks(node)).filter(each => each.userId === userId).map(({ payload }) => payload)
    return payloads.includes(String(last))
  }, 50)
  return payloads
}

t.test('Clients of a gateway that is killed again and again', { timeout: 230_000 }, async t => {
  const random = randomFrom(seed)
  const gateway = await givenGateway(t, t.testdir())
  const users = Array.from({ length: 9 }, (_, i) => `user${i}`)
  const apps = new Map<string, { client: Client, sent: number, accepted: string[], wrong: string[], seen: string[] }>()
  for (const [i, userId] of users.entries()) {
    const token = await tokenFor(userId)
    const client = createClient({
      endpoints: [i % 3 === 0 ? gateway.tcp : gateway.ws],
      encoding: i % 3 === 1 ? 'json' : 'avro',
      getToken: () => token,
      deviceId: 'phone',
      random: () => random() / 20, // back at once, for a test that is short
    })
    t.teardown(() => client.close())
    const app = { client, sent: 0, accepted: [] as string[], wrong: [] as string[], seen: [] as string[] }
    apps.set(userId, app)
    client.on('missed', ({ count }) => app.wrong.push(`missed ${count}`))
    client.on('kicked', ({ code }) => app.wrong.push(`kicked ${code}`))
    client.on('disconnected', ({ code, willReconnect }) => {
      if (!willReconnect && code !== 'disconnected') app.wrong.push(code)
    })
    if (i % 2 === 0) {
      client.on('downlink', async ({ messageId }) => {
        await new Promise(resolve => setTimeout(resolve, 3 * random()))
        app.seen.push(messageId)
      })
    } else {
      (async () => { for await (const { messageId } of client.downlinks()) app.seen.push(messageId) })()
    }
    client.connect()
  }
  const pusher = new Pusher()
  const pushing = pusher.run(() => gateway.node, users)
  const sender = { isStopped: false }
  const sending = [...apps.values()].map(async app => {
    while (!sender.isStopped) {
      await until(() => app.client.unackedUplinks < 200, 20) // however slow the machine is, no outbox is full
      const payload = String(++app.sent)
      app.client.send(payload).then(() => app.accepted.push(payload), err => app.wrong.push(err.code))
      await new Promise(resolve => setTimeout(resolve, 5 * random()))
    }
  })
  for (let kill = 1; kill <= 4; kill++) {
    const before = [...apps.values()].map(({ accepted }) => accepted.length)
    await until(() => [...apps.values()].every(({ accepted }, i) => accepted.length > before[i]! + 20))
    await new Promise(resolve => setTimeout(resolve, 300 * random()))
    await gateway.kill()
    await gateway.restart()
  }
  sender.isStopped = true
  pusher.isStopped = true
  await Promise.all([...sending, pushing])
  for (const [userId, app] of apps) {
    await until(() => app.accepted.length >= app.sent && app.seen.length >= pusher.sent.get(userId)!.length, 20)
    const expected = Array.from({ length: app.sent }, (_, i) => String(i + 1))
    t.strictSame(app.wrong, [], `${userId}: nothing went wrong`)
    t.strictSame(app.accepted, expected, `${userId}: each send resolved once`)
    t.strictSame(app.seen, pusher.sent.get(userId), `${userId}: each downlink came once and in order`)
    t.strictSame(await published(gateway.node, userId, app.sent), expected, `${userId}: the stream says the same`)
  }
})

t.test('An application that is killed again and again, with a file', { timeout: 230_000 }, async t => {
  const random = randomFrom(seed + 1)
  const directory = t.testdir({ gateway: {}, app: {} })
  const gateway = await givenGateway(t, `${directory}/gateway`)
  const token = await tokenFor('ann')
  const file = `${directory}/app/ann.ledgerline`
  const accepted: number[] = []
  const seen: Array<{ seq: number, messageId: string }> = []
  const wrong: unknown[] = []
  let began = 0
  let app = run()

  function run () {
    const child = spawn(process.execPath,
      [fileURLToPath(new URL('app.js', import.meta.url)), gateway.tcp, file, token, String(began + 1)],
      { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    const gone = once(child, 'close')
    createInterface({ input: child.stdout }).on('line', text => {
      const line = JSON.parse(text)
      if (line.began) began = line.began
      else if (line.accepted) accepted.push(line.accepted)
      else if (line.downlink) seen.push({ seq: line.downlink, messageId: line.messageId })
      else wrong.push(line)
    })
    return {
      async kill () {
        child.kill('SIGKILL')
        await gone
      },
    }
  }

  const pusher = new Pusher()
  const pushing = pusher.run(() => gateway.node, ['ann'])
  for (let kill = 1; kill <= 6; kill++) {
    const [uplinks, downlinks] = [accepted.length, seen.length]
    await until(() => accepted.length > uplinks + 20 && seen.length > downlinks + 10)
    await new Promise(resolve => setTimeout(resolve, 100 * random()))
    if (kill % 3 === 0) await gateway.kill() // both, and the application is back before the gateway is
    await app.kill()
    app = run()
    if (kill % 3 === 0) await gateway.restart()
  }
  pusher.isStopped = true
  await pushing
  const pushed = pusher.sent.get('ann')!
  await until(() => seen.at(-1)?.messageId === pushed.at(-1))
  const last = Math.max(...accepted)
  await until(() => accepted.includes(last + 20))
  await app.kill()

  t.strictSame(wrong, [])
  const stream = (await published(gateway.node, 'ann', Math.max(...accepted))).map(Number)
  t.strictSame(stream, [...new Set(stream)].sort((a, b) => a - b), 'the stream has each once and in order')
  t.strictSame(accepted.filter(each => !stream.includes(each)), [], 'and all that was accepted')
  const repeated = seen.filter(({ messageId }, i) => seen.findIndex(each => each.messageId === messageId) < i)
  t.comment(`${began} uplinks begun, ${stream.length} published`)
  t.comment(`${pushed.length} downlinks, ${repeated.length} repeated`)
  t.ok(repeated.length <= 6, 'a downlink is repeated at most where the application was killed over it')
  const firsts = [...new Set(seen.map(({ messageId }) => messageId))]
  t.strictSame(firsts, pushed, 'none is lost, and they are in order')
})
