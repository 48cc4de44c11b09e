import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, inMemory, type Client } from '../../client/node.js'
import type { Test } from 'tap'
import { type TestNode, until } from '../gateway/node.js'

/** A device of a user, with its client connected; what it is sent is acked unless it is told to hold that back. */
export async function device (
  t: Test, node: TestNode, userId: string, deviceId: string, platform: string, acks = true
): Promise<Client> {
  const client = createClient({
    ipConfig: `${node.http}/v1/ip-config`,
    getToken: () => node.token(userId),
    deviceId,
    platform,
    client: 'shop/2.1',
    storage: inMemory(),
    ack: 'manual',
  })
  t.teardown(() => client.close())
  client.on('downlink', ({ ack }) => { if (acks) ack() })
  const connected = new Promise<void>(resolve => { client.on('connected', () => { resolve() }) })
  client.connect()
  await connected
  return client
}

/** Ann has a phone that works, and a tablet that acks nothing and goes: what she is sent ends in different ways. */
export async function givenAnn (t: Test, node: TestNode): Promise<void> {
  const phone = await device(t, node, 'ann', 'phone', 'ios')
  await phone.send('where is my parcel?')
  await node.push('ann', 'on its way', { messageId: 'order-1', service: 'orders' })
  const tablet = await device(t, node, 'ann', 'tablet', 'android', false)
  await phone.send('thanks')
  await node.push('ann', 'at the door', { messageId: 'order-2', service: 'orders' })
  await stepIs(node, 'order-2', 'written', 2)
  await tablet.close()
  await node.push('ann', 'ten minutes left', { messageId: 'offer-1', service: 'shop', ttlMs: 1_000 })
  await stepIs(node, 'offer-1', 'acked', 1)
  await sleep(1_100) // the time to live of the offer: the ledger goes by its own clock
  await node.push('ann', 'delivered', { messageId: 'order-3', service: 'orders' })
  await stepIs(node, 'order-3', 'acked', 1)
}

/** Until the timeline of Ann has so many marks of an event of a message. */
export async function stepIs (node: TestNode, messageId: string, event: string, count: number): Promise<void> {
  await until(`${messageId} is ${event}`, async () => {
    const { json } = await node.request('GET', '/v1/users/ann/timeline')
    const { marks } = json as { marks: Array<{ messageId: string, event: string }> }
    return marks.filter(mark => mark.messageId === messageId && mark.event === event).length >= count
  })
}
