import type { Test } from 'tap'
import { createClient, inMemory } from '../../../client/node.js'
import { connected, TcpSpeaker } from '../../gateway/edge/dialects.js'
import { startFlood } from '../../faults/flood.js'
import { GroupReaderClient } from '../../gateway/group-reader.js'
import { signedToken, type TestNode, until, WebSocketClient } from '../../gateway/node.js'
import { device } from '../given-users.js'
import { ForgetfulNat } from './forgetful-nat.js'
import { type Incident, quickly, repeat } from './incident.js'

const large = 'x'.repeat(50_000)

let nat: ForgetfulNat

/** Those that one node has alone; of a cluster there are two more (test/cluster/console.test.ts). */
export const incidents: readonly Incident[] = [
  {
    name: 'slow-consumer',
    settings: quickly,
    async plant (t, node) {
      for (let i = 1; i <= 4; i++) {
        const { client } = await connected(t, node, 'TCP', 'bob', { deviceId: `tablet-${i}`, platform: 'android', client: 'shop/2.1' })
        if (client instanceof TcpSpeaker) client.client.socket.pause()
      }
      await until('they are too slow', async () => {
        for (let i = 0; i < 20; i++) await node.push('bob', large, { ttlMs: 60_000 })
        return await node.closed('slow-consumer') >= 4
      })
    },
    says: [/Clients read too slowly: \d+ times in the last five minutes \(slow-consumer\)/, /Send it less at a time/, /ledgerline history --code slow-consumer/],
    leads: { link: 'Who they are', heading: 'Ended connections', says: [/100 % bob/, /100 % shop\/2\.1/] },
  },
  {
    name: 'nat-timeout',
    async prepare (t) {
      nat = await ForgetfulNat.listen(t, 600)
      return { LEDGERLINE_PUBLIC_WS_URL: `ws://127.0.0.1:${nat.port}/v1/connect` }
    },
    settings: { ...quickly, LEDGERLINE_HEARTBEAT_MS: '1200' },
    async plant (t, node) {
      nat.toPort = node.httpPort
      for (const user of ['ann', 'bob', 'cid', 'dan']) {
        createThroughNat(t, node, user)
      }
      await until('connections end', async () => await node.closed('heartbeat-timeout') >= 6)
    },
    says: [/Clients fall silent: \d+ times in the last five minutes \(heartbeat-timeout\)/, /a NAT that forgets quiet connections. Set LEDGERLINE_HEARTBEAT_MS/],
    leads: { link: 'Who they are', heading: 'Ended connections', says: [/how long they lasted, about ?\d+ % \d s/, /100 % heartbeat-timeout/] },
  },
  {
    name: 'poison-handler',
    settings: quickly,
    async plant (t, node) {
      const client = createClient({
        ipConfig: `${node.http}/v1/ip-config`,
        getToken: () => node.token('ann'),
        deviceId: 'phone',
        platform: 'ios',
        storage: inMemory(),
        handlerAttemptsMax: 1,
      })
      t.teardown(() => client.close())
      client.on('downlink', () => { throw new TypeError('price is undefined') })
      const isConnected = new Promise<void>(resolve => { client.on('connected', () => { resolve() }) })
      client.connect()
      await isConnected
      for (let i = 1; i <= 4; i++) await node.push('ann', `{"offer":${i}}`, { messageId: `offer-${i}`, service: 'shop' })
      await until('they are skipped', async () =>
        (await node.request('GET', '/metrics')).text.match(/downlinks_settled_total\{outcome="skipped"[^}]*\} 4/))
    },
    says: [/Applications fail at downlinks, which are skipped: \d times/, /Mend the handler, then send the messages again/],
    leads: { link: 'Which users and messages', heading: 'Ended downlinks', says: [/100 % skipped/, /100 % ann/, /100 % shop/, /offer-4/] },
  },
  {
    name: 'wrong-token-key',
    settings: quickly,
    async plant (t, node) {
      const token = await signedToken({ sub: 'ann' }, { secret: 'the secret of another gateway altogether' })
      repeat(t, 200, async () => {
        const client = await WebSocketClient.open(t, node, 'ledgerline.v1.json')
        client.send(JSON.stringify({ op: 'connect', token, deviceId: 'phone', sessionId: 's1' }))
        await client.closed()
      })
      await until('some are refused', async () => await node.closed('bad-token') >= 4)
    },
    says: [/Clients are refused for their tokens: \d+ times/, /LEDGERLINE_JWT_SECRET/, /ledgerline token USER/],
  },
  {
    name: 'kick-loop',
    settings: { ...quickly, LEDGERLINE_LOGIN_POLICY: 'user' },
    async plant (t, node) {
      for (const deviceId of ['phone', 'tablet']) againAndAgain(t, node, deviceId)
      await until('they push each other out', async () => await node.closed('kicked') >= 12)
    },
    says: [/Users are kicked again and again: \d+ times/, /devices push each other out/, /LEDGERLINE_LOGIN_POLICY/],
    leads: { link: 'Who they are', heading: 'Ended connections', says: [/100 % ann/, /\d+ % phone/, /\d+ % tablet/] },
  },
  {
    name: 'full-outbox',
    settings: { ...quickly, LEDGERLINE_OUTBOX_BYTES_MAX: '1048576' },
    async plant (t, node) {
      const tablet = await device(t, node, 'bob', 'tablet', 'android', false)
      await tablet.close()
      for (let i = 1; i <= 30; i++) await node.push('bob', large, { messageId: `catalogue-${i}`, service: 'shop' })
      await until('some are dropped', async () =>
        (await node.request('GET', '/metrics')).text.match(/downlinks_settled_total\{outcome="dropped",reason="outbox-full"\} [3-9]/))
    },
    says: [/Outboxes are full: downlinks are dropped: \d+ times/, /LEDGERLINE_OUTBOX_BYTES_MAX/],
    leads: { link: 'Which users and messages', heading: 'Ended downlinks', says: [/100 % outbox-full/, /100 % bob/, /100 % tablet/] },
  },
  {
    name: 'retention-hole',
    settings: { ...quickly, LEDGERLINE_RETENTION_BYTES: '2000000' },
    async plant (t, node) {
      const post = async (count: number) => {
        for (let i = 0; i < count; i++) await node.request('POST', '/v1/rooms/orders/posts', { payload: large })
      }
      await post(5)
      const reader = await GroupReaderClient.open(t, node.api, 'billing')
      await until('some came', () => reader.posts.length >= 5)
      await reader.ackAll()
      reader.leave()
      const lag = async () => (await node.request('GET', '/v1/lag')).json as { followers: Array<{ follower: string, gone: number }> }
      await until('retention has overtaken it', async () => {
        await post(20)
        return (await lag()).followers.some(({ follower, gone }) => follower === 'readers billing' && gone > 0)
      })
    },
    says: [/Retention has deleted \d+ blocks? of posts before readers billing had read them/, /LEDGERLINE_RETENTION_MS/],
    leads: { link: 'All streams', heading: 'Streams', says: [/readers billing ?posts/] },
  },
  {
    name: 'overload',
    settings: { ...quickly, LEDGERLINE_OVERLOAD_WAIT_MS: '1' },
    isApart: true,
    async plant (t, node) {
      await startFlood(t, node.tcpPort, userId => node.token(userId))
      await until('some are refused', async () =>
        /uplinks_refused_total\{code="overloaded"\} \d/.test((await node.request('GET', '/metrics')).text))
    },
    says: [/overload, for/, /Node n1 is overloaded/, /For good: more nodes, or have a part of its clients go to others/],
    leads: { link: 'All nodes', heading: 'Nodes', says: [/overloaded/] },
  },
]

function createThroughNat (t: Test, node: TestNode, userId: string): void {
  const client = createClient({
    ipConfig: `${node.http}/v1/ip-config`,
    getToken: () => node.token(userId),
    deviceId: 'phone',
    platform: 'android',
    client: 'shop/2.1',
    storage: inMemory(),
  })
  t.teardown(() => client.close())
  client.connect()
}

/** An application that connects again whatever it is told. */
function againAndAgain (t: Test, node: TestNode, deviceId: string): void {
  let isOver = false
  let close = () => {}
  t.teardown(() => {
    isOver = true
    close()
  })
  const connect = () => {
    if (isOver) return
    const client = createClient({
      ipConfig: `${node.http}/v1/ip-config`,
      getToken: () => node.token('ann'),
      deviceId,
      storage: inMemory(),
    })
    close = () => { client.close() }
    client.on('kicked', () => { setTimeout(connect, 100) })
    client.connect()
  }
  connect()
}
