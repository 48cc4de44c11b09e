import { setTimeout as wait } from 'node:timers/promises'
import { Connections, protocolNamed } from './connections.js'
import { Requests } from './requests.js'
import { out } from './outgoing.js'
import { startUsage } from './usage.js'
import { userIdOf } from './protocols/ledgerline.js'

const requestConnections = 16
/** Requests ahead of the deliveries, over all receivers together. */
const requestsAheadMax = 48
/** Requests ahead of the slowest receiver, where deliveries must be acked: far below the bound of an outbox. */
const unackedMax = 400
const turnMs = 1
const stalledMs = 500

/**
 * Has the server send one message to all connections as often as it can, and counts what arrives.
 *
 * @param {import('./connections.js').Connections} connections all open
 * @param {object} options
 * @param {'signal' | 'durable' | 'downlink'} options.delivery at most once; kept until the client acks; acked by the
 *   client, for servers that keep nothing
 * @param {string} options.protocol
 * @param {Buffer} options.payload
 * @returns {Promise<{ perSecond: number, lost: number, usage: import('./usage.js').Usage }>} deliveries in the window;
 *   `lost` were requested and never came
 */
export async function fanout (connections, options) {
  const { warmMs, windowMs, serverPid } = options
  const receivers = connections.list.length
  const sender = await openSender(connections, options)
  let delivered = 0
  let requested = 0
  let lost = 0
  let ended = false
  let slowest = 0
  let progressAtMs = performance.now()

  const pump = () => {
    if (ended) return
    const ahead = requestsAheadMax * receivers
    while (sender.free > 0 && requested * receivers - delivered - lost <= ahead && requested - slowest < unackedMax) {
      sender.send()
      requested++
    }
  }
  connections.drive({
    progress (_conn, _acks, deliveries) {
      if (deliveries === 0) return
      delivered += deliveries
      progressAtMs = performance.now()
    },
  })
  // What a turn's deliveries made room for is requested at its end, not delivery by delivery.
  const pumping = setInterval(() => {
    slowest = options.delivery === 'signal' ? requested : connections.list.reduce(leastDelivered, Infinity)
    if (performance.now() - progressAtMs > stalledMs) {
      lost = requested * receivers - delivered
      progressAtMs = performance.now()
    }
    pump()
  }, turnMs)
  sender.onAnswer = pump
  pump()
  await wait(warmMs)
  const deliveredBefore = delivered
  const lostBefore = lost
  const endUsage = startUsage(serverPid)
  await wait(windowMs)
  const usage = endUsage()
  const perSecond = (delivered - deliveredBefore) / usage.seconds
  ended = true
  clearInterval(pumping)
  return { perSecond, lost: lost - lostBefore, usage }
}

function leastDelivered (least, conn) {
  return Math.min(least, conn.delivered)
}

/** @returns {Promise<{ free: number, send: () => void, onAnswer: () => void }>} asks the server once for each `send` */
function openSender (connections, options) {
  return options.protocol === 'mqtt' ? mqttPublisher(connections, options) : httpRequests(connections, options)
}

async function httpRequests ({ target, list, fail }, { protocol, delivery, payload }) {
  const request = protocol.startsWith('ledgerline')
    ? {
        path: '/v1/downlinks',
        headers: { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' },
        body: Buffer.from(JSON.stringify({
          to: { userIds: list.map(conn => userIdOf(conn.index)) }, payload: payload.latin1Slice(), delivery,
        })),
      }
    : { path: `/${delivery}`, body: payload }
  const requests = new Requests(target.controlPort, request, fail)
  await requests.open(requestConnections)
  return requests
}

/** One client that publishes to the topic that all others subscribed to. */
async function mqttPublisher ({ target, fail }, { payload }) {
  const protocol = protocolNamed('mqtt', target, payload, { publishTo: 'down' })
  const publisher = new Connections(target, protocol)
  publisher.failure.catch(fail)
  await publisher.open(1)
  const [conn] = publisher.list
  const sender = {
    get free () { return requestConnections - (conn.sent - conn.acked) },
    send () {
      protocol.putUplink(conn)
      out.flush(conn.socket)
    },
    onAnswer () {},
  }
  conn.driver = { progress: () => sender.onAnswer() }
  return sender
}
