/*
  An adapter between the stream `offline` and a push vendor. A downlink that no device acked in time is handed to the
  vendor, who wakes a device; one that was acked after all is taken back.

    GATEWAY=http://127.0.0.1:8080 KEY=... VENDOR=https://push.example VENDOR_KEY=... node examples/push-adapter/main.js

  The adapter reads as one of the group `push-adapter`, whose place the gateway keeps: start several of them, and
  each has a share of the users. A record is acked once the vendor has it, so after a crash one may be handed over
  again: the vendor drops repeats by `id`, and so does an app that shows a notification under that id.
*/
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const { GATEWAY, KEY, VENDOR, VENDOR_KEY = '', GROUP = 'push-adapter' } = process.env
const gatewayHeaders = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
const vendorHeaders = { authorization: `Bearer ${VENDOR_KEY}`, 'content-type': 'application/json' }

const retryMsMin = 200
const retryMsMax = 60_000

/** Tries until it is answered; a vendor that refuses a message for good is told of it no more. */
async function callVendor (path, method, body) {
  for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
    const answer = await fetch(`${VENDOR}${path}`, {
      method, headers: vendorHeaders, body: body && JSON.stringify(body), signal: AbortSignal.timeout(10_000),
    }).catch(error => ({ status: 0, error }))
    if (answer.status >= 200 && answer.status < 300) return
    if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
      console.error(`the vendor refuses ${method} ${path}: ${answer.status}`)
      return
    }
    const seconds = Number(answer.headers?.get('retry-after') ?? NaN)
    await sleep(Number.isNaN(seconds) ? waitMs : Math.min(1_000 * seconds, retryMsMax))
  }
}

/** One record of `offline`. */
async function handOver ({ userId, change, messageId, service, payload, deviceIds, expiresAtMs }) {
  const id = `${userId}/${messageId}`
  if (change === 'withdrawn') return await callVendor(`/notifications/${encodeURIComponent(id)}`, 'DELETE')
  await callVendor('/notifications', 'POST', { id, userId, deviceIds, service, data: payload, expiresAtMs })
}

async function ack (cursor) {
  const answer = await fetch(`${GATEWAY}/v1/groups/${GROUP}/acks`, {
    method: 'POST', headers: gatewayHeaders, body: JSON.stringify({ cursors: [cursor] }),
  })
  if (!answer.ok) throw new Error(`an ack: ${answer.status} ${await answer.text()}`)
}

/**
 * Reads until the gateway ends the answer, or an ack fails. What was not acked comes again, to whoever has the share
 * then: so it does where the vendor is away for longer than the gateway waits for an ack.
 */
async function read () {
  const answer = await fetch(`${GATEWAY}/v1/streams/offline?group=${GROUP}`, { headers: gatewayHeaders })
  if (!answer.ok) throw new Error(`the stream: ${answer.status} ${await answer.text()}`)
  for await (const line of createInterface({ input: Readable.fromWeb(answer.body) })) {
    if (line === '') continue // the gateway says that it is there
    const record = JSON.parse(line)
    if (record.messageId !== undefined) await handOver(record)
    if (record.cursor !== undefined) await ack(record.cursor)
  }
}

for (;;) {
  await read().catch(error => { console.error(`${error.message}; once more in a second`) })
  await sleep(1_000)
}
