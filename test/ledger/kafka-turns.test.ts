import t, { type Test } from 'tap'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { parseAddress } from '../../ledger/kafka/address.js'
import { Connection } from '../../ledger/kafka/connection.js'
import { heartbeat } from '../../ledger/kafka/wire.js'

const question = { groupId: 'g', groupGenerationId: 1, memberId: 'm' }
const apiVersions = 18

t.test('a connection to a broker', async t => {
  await t.test('with more questions than it can answer by their deadline is not ended by those that wait', async t => {
    const { connection } = await given(t, { answerMs: 50 })
    // Long enough for whatever keeps this process for a while, and less than all of them take together.
    const answers = await Promise.all(Array.from({ length: 150 }, () => connection.send(heartbeat, question, 6_000)))
    t.equal(answers.length, 150)
    t.notOk(connection.closed)
  })

  await t.test('writes nothing before the time that the broker has asked for, and counts the deadline from then', async t => {
    const { connection, early } = await given(t, { throttleMs: 6_000 })
    for (let i = 0; i < 3; i++) await connection.send(heartbeat, question, 5_000)
    t.equal(early(), 0)
    t.notOk(connection.closed)
  })

  await t.test('takes an answer that is there, however late this process comes to read it', async t => {
    const { connection } = await given(t, { haltMs: 7_000 })
    await connection.send(heartbeat, question, 6_000)
    t.notOk(connection.closed)
  })

  await t.test('that ends lets nobody wait', async t => {
    const { connection } = await given(t, { throttleMs: 60_000 })
    await connection.send(heartbeat, question, 30_000)
    const waiting = [1, 2, 3].map(() => connection.send(heartbeat, question, 30_000))
    connection.destroy(new Error('not needed any more'))
    for (const each of waiting) await t.rejects(each, { name: 'NoAnswer', sent: false })
  })
})

/**
 * A broker that answers one request after the other, each of which may ask for a pause.
 *
 * @param options.haltMs for so long nothing goes on in this process when it has answered
 */
async function given (
  t: Test, { answerMs = 0, throttleMs = 0, haltMs = 0 }: { answerMs?: number, throttleMs?: number, haltMs?: number }
) {
  let early = 0
  let quietUntilMs = 0
  const server = createServer(socket => {
    let buffered = Buffer.alloc(0)
    let answered = Promise.resolve()
    socket.on('error', () => {})
    socket.on('data', chunk => {
      buffered = Buffer.concat([buffered, chunk])
      while (buffered.length >= 4 && buffered.length >= 4 + buffered.readInt32BE(0)) {
        const [key, id] = [buffered.readInt16BE(4), buffered.readInt32BE(8)]
        buffered = buffered.subarray(4 + buffered.readInt32BE(0))
        if (performance.now() < quietUntilMs) early++
        answered = answered.then(async () => {
          if (answerMs > 0) await new Promise(resolve => setTimeout(resolve, answerMs))
          if (key !== apiVersions && throttleMs > 0) quietUntilMs = performance.now() + throttleMs
          socket.write(answerTo(key, id, throttleMs))
          if (key !== apiVersions && haltMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, haltMs)
        })
      }
    })
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const address = parseAddress(`127.0.0.1:${(server.address() as AddressInfo).port}`)
  const connection = await Connection.open(address, { clientId: 'test' }, 60_000)
  t.teardown(() => { connection.destroy(new Error('done')) })
  return { connection, early: () => early }
}

function answerTo (key: number, id: number, throttleMs: number): Buffer {
  const apis = 70
  const body = Buffer.alloc(key === apiVersions ? 6 + 6 * apis : 6)
  if (key === apiVersions) {
    body.writeInt32BE(apis, 2)
    for (let api = 0; api < apis; api++) {
      body.writeInt16BE(api, 6 + 6 * api)
      body.writeInt16BE(100, 10 + 6 * api)
    }
  } else {
    body.writeInt32BE(throttleMs, 0)
  }
  const head = Buffer.alloc(8)
  head.writeInt32BE(4 + body.length, 0)
  head.writeInt32BE(id, 4)
  return Buffer.concat([head, body])
}
