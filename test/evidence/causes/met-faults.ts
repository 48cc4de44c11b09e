import { endsWith, type Speaker, TcpSpeaker, uplinks } from '../../gateway/edge/dialects.js'
import { until } from '../../gateway/node.js'
import type { MetFault, Place } from './met.js'

const heartbeatMs = 1_000

/** A client that has read a downlink and not acked it. */
async function given (place: Place, expected: string): Promise<{ client: Speaker, connectionId: string }> {
  const { client, welcome } = await place.connect()
  await place.push('m', expected)
  place.t.match(await client.next(), { op: 'downlink', messageId: 'm' })
  return { client, connectionId: welcome.connectionId }
}

function socketOf (client: Speaker) { return (client as TcpSpeaker).client.socket }

/** What can go wrong on an ordinary gateway, whose heartbeat is long. */
const ordinary: readonly MetFault[] = [
  { fault: 'the client never acks', async meet (place) { await given(place, 'not-acked') } },
  {
    fault: 'the client says goodbye',
    async meet (place) {
      const { client } = await given(place, 'unacked/disconnected')
      client.send({ op: 'disconnect' })
      await client.closed()
      await place.push('later', 'offline/disconnected')
    },
  },
  {
    fault: 'the connection is reset',
    async meet (place) {
      const { client } = await given(place, 'unacked/connection-lost')
      await place.node.gone(() => { socketOf(client).resetAndDestroy() })
      place.plantUplinks(1, 1, 'never-reached-us/connection-lost')
    },
  },
  {
    fault: 'the user logs out',
    async meet (place) {
      const { client } = await given(place, 'session-ended/disconnected')
      client.send({ op: 'disconnect', endSession: true })
      await client.closed()
    },
  },
  {
    fault: 'the client acks what it was never sent',
    async meet (place) {
      const { client } = await given(place, 'unacked/protocol')
      client.send({ op: 'downlinkAck', seq: 2 })
      await endsWith(place.t, client, 'protocol')
    },
  },
  {
    fault: 'the client sends garbage',
    async meet (place) {
      const { client } = await given(place, 'unacked/bad-frame')
      socketOf(client).write(Buffer.from('00000001ff', 'hex'))
      await endsWith(place.t, client, 'bad-frame')
    },
  },
  {
    fault: 'an operator kicks it',
    async meet (place) {
      const { client, connectionId } = await given(place, 'unacked/kicked-by-operator')
      await until('it is kicked', async () =>
        (await place.node.request('DELETE', `/v1/connections/${connectionId}`)).status < 300)
      await endsWith(place.t, client, 'kicked')
    },
  },
  {
    fault: 'the device connects again',
    async meet (place) {
      const { client } = await given(place, 'acked/superseded')
      const { client: next } = await place.connect()
      await endsWith(place.t, client, 'superseded')
      place.t.match(await next.next(), { op: 'downlink', messageId: 'm' })
      next.send({ op: 'downlinkAck', seq: 1 })
    },
  },
  {
    fault: 'the token expires',
    async meet (place) {
      const { t, node, userId } = place
      const exp = Math.trunc(Date.now() / 1000) + 8
      const { client } = await place.connect({ token: await node.token(userId, { exp }) })
      await place.push('m', 'unacked/token-expired')
      t.match(await client.next(), { op: 'downlink' })
      place.plantUplinks(1, 1, 'never-reached-us/token-expired')
      await endsWith(t, client, 'token-expired')
    },
  },
  {
    fault: 'the client reads nothing',
    async meet (place) {
      const { client } = await place.connect()
      socketOf(client).pause()
      const before = await place.node.closed('slow-consumer')
      for (let i = 1; i <= 2; i++) await place.push(`m${i}`, 'unacked/slow-consumer', { payload: 'x'.repeat(60_000) })
      await until('it is too slow', async () => {
        for (let i = 0; i < 20; i++) await place.node.push(place.userId, 'x'.repeat(60_000))
        return await place.node.closed('slow-consumer') > before
      })
    },
  },
  {
    fault: 'an uplink is left out',
    async meet (place) {
      const { client } = await place.connect()
      client.sendAll([...uplinks(1, 1), ...uplinks(3, 5)])
      while ((await client.next()).op !== 'uplinkRefused');
      place.plantUplinks(2, 2, 'not-received')
      place.plantUplinks(3, 5, 'gap')
    },
  },
  {
    fault: 'uplinks are sent twice',
    async meet (place) {
      const { client } = await place.connect()
      client.sendAll([...uplinks(1, 3), ...uplinks(1, 3)])
      place.plantUplinks(1, 3, 'accepted')
    },
  },
  {
    fault: 'the user has never been here',
    async meet (place) {
      await place.push('m', 'waiting/no-session')
      await place.push('short', 'expired/no-session', { ttlMs: 1 })
    },
  },
  {
    fault: 'a filter leaves out the device',
    async meet (place) {
      await place.connect()
      await place.push('m1', 'no-target/platform-filter', { platforms: ['android'] })
      await place.push('m2', 'no-target/device-filter', { exceptDevices: ['phone'] })
    },
  },
  {
    fault: 'it is requested twice',
    async meet (place) {
      const { client } = await given(place, 'acked')
      const body = { to: { userIds: [place.userId] }, messageId: 'm', payload: 'another payload' }
      // Who asks again is told, and the ledger has nothing of it.
      place.t.match(await place.node.request('POST', '/v1/downlinks', body), { json: { users: [{ status: 'conflict' }] } })
      client.send({ op: 'downlinkAck', seq: 1 })
    },
  },
  {
    fault: 'its request is refused',
    async meet (place) {
      await place.connect()
      const body = { to: { userIds: [place.userId] }, messageId: 'm', payload: 'hi', ttlMs: -1 }
      place.t.match(await place.node.request('POST', '/v1/downlinks', body), { status: 400 })
      place.plantDownlink('m', 'never-requested')
    },
  },
  {
    fault: 'it is a signal',
    async meet (place) {
      await place.connect()
      await place.node.signal(place.userId, 'hi', { messageId: 'm' })
      place.plantDownlink('m', 'never-requested')
    },
  },
]

const silent: readonly MetFault[] = [{
  fault: 'the client is silent',
  async meet (place) {
    const { client } = await given(place, 'unacked/heartbeat-timeout')
    place.plantUplinks(1, 1, 'never-reached-us/heartbeat-timeout')
    await endsWith(place.t, client, 'heartbeat-timeout')
  },
}]

const exclusive: readonly MetFault[] = [{
  fault: 'another device logs in',
  async meet (place) {
    const { client } = await given(place, 'unacked/kicked-by-policy')
    await place.connect({ deviceId: 'laptop', sessionId: 's2' })
    await endsWith(place.t, client, 'kicked')
  },
}]

/** Five frames a second, five at once. */
const slow: readonly MetFault[] = [
  {
    fault: 'the client sends too fast',
    async meet (place) {
      const { client } = await place.connect()
      client.sendAll(uplinks(1, 9))
      place.plantUplinks(6, 9, 'throttled')
    },
  },
  {
    fault: 'the client sends too fast, and again',
    async meet (place) {
      const { client } = await place.connect()
      client.sendAll(uplinks(1, 7))
      place.plantUplinks(6, 7, 'accepted/throttled')
      await new Promise(resolve => setTimeout(resolve, 1_500))
      client.sendAll(uplinks(6, 7))
    },
  },
  {
    fault: 'the client does not stop sending too fast',
    async meet (place) {
      const { client } = await place.connect()
      client.sendAll(uplinks(1, 90))
      await endsWith(place.t, client, 'rate-limited')
      place.plantUplinks(40, 41, 'throttled')
      place.plantUplinks(89, 90, 'never-reached-us/rate-limited')
    },
  },
]

export const metFaults = [
  { environment: {}, faults: ordinary },
  { environment: { LEDGERLINE_HEARTBEAT_MS: `${heartbeatMs}` }, faults: silent },
  { environment: { LEDGERLINE_LOGIN_POLICY: 'user' }, faults: exclusive },
  { environment: { LEDGERLINE_FRAME_RATE: '5', LEDGERLINE_FRAME_BURST: '5' }, faults: slow },
]
