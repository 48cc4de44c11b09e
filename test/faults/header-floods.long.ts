import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { complaintsOf } from '../lasting.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { apiKey, type NodeProcess, request, startProcess, until } from './node-process.js'

/*
  Requests that are made to cost: each is sent on many sockets at once, as fast as the node takes it, by somebody who
  reads what he is told and never closes. The node has to answer with an error and close, and to serve a neighbour.
*/

const socketsOfEach = 20
const grownBytesMax = 150 << 20

const lines = (...all: string[]) => `${all.join('\r\n')}\r\n`
const asBusiness = ['host: a', `authorization: Bearer ${apiKey}`, 'content-type: application/json']
const chunked = lines('POST /v1/downlinks HTTP/1.1', ...asBusiness, 'transfer-encoding: chunked', '')

interface Flood {
  readonly what: string
  readonly begins?: string
  /** Sent again and again until the node closes, or so often. */
  readonly again?: string
  readonly times?: number
  /** On how many sockets; see `socketsOfEach`. */
  readonly sockets?: number
  /** The last answer, which ends the connection. */
  readonly told: RegExp
}

const tooLarge = /^HTTP\/1\.1 431 [^]*"code":"bad-request"/

const floods: readonly Flood[] = [
  { what: 'one header without an end', begins: 'GET /healthz HTTP/1.1\r\nhost: a\r\nx-long: ', again: 'a'.repeat(4_096), told: tooLarge },
  { what: 'headers without an end', begins: 'GET /healthz HTTP/1.1\r\nhost: a\r\n', again: 'x: y\r\n'.repeat(700), told: tooLarge },
  { what: 'a path without an end', begins: 'GET /', again: 'a'.repeat(4_096), told: tooLarge },
  { what: 'a name of a header without an end', begins: 'GET /healthz HTTP/1.1\r\nhost: a\r\n', again: 'x'.repeat(4_096), told: tooLarge },
  {
    what: 'a chunk extension without an end',
    begins: `${chunked}1;`,
    again: 'x'.repeat(4_096),
    told: /^HTTP\/1\.1 4\d\d [^]*"code":"/,
  },
  {
    what: 'chunk extensions on each of many chunks',
    begins: chunked,
    again: `1;${'x'.repeat(1_000)}\r\na\r\n`,
    told: /^HTTP\/1\.1 4\d\d [^]*"code":"/,
  },
  { what: 'trailers without an end', begins: `${chunked}0\r\n`, again: 'x: y\r\n'.repeat(700), told: /^HTTP\/1\.1 4\d\d [^]*"code":"/ },
  {
    what: 'a body without an end in chunks of a byte',
    begins: chunked,
    again: '1\r\n \r\n'.repeat(1_000),
    sockets: 2, // each byte is an event, so it takes its time, in which the node may be rid of them
    told: /^HTTP\/1\.1 (?:413|408) [^]*"code":"/,
  },
  {
    what: 'a body without an end, and no key',
    begins: lines('POST /v1/downlinks HTTP/1.1', 'host: a', 'content-type: application/json', 'content-length: 9000000000', ''),
    again: 'a'.repeat(4_096),
    told: /^HTTP\/1\.1 401 [^]*"code":"unauthorized"/,
  },
  {
    what: 'a body that it announces, asks for leave to send, and never sends',
    begins: lines('POST /v1/downlinks HTTP/1.1', ...asBusiness, 'expect: 100-continue', 'content-length: 60000', ''),
    told: /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 408 [^]*"code":"bad-request"/,
  },
  {
    what: 'an expectation that nobody knows',
    begins: lines('POST /v1/downlinks HTTP/1.1', ...asBusiness, 'expect: the-unexpected', 'content-length: 60000', ''),
    told: /^HTTP\/1\.1 417 [^]*"code":"bad-request"/,
  },
  { what: 'HTTP/1.0 that would be kept alive', begins: lines('GET /healthz HTTP/1.0', 'host: a', 'connection: keep-alive', ''), told: /^HTTP\/1\.1 400 / },
  { what: 'HTTP/2 by prior knowledge', begins: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', told: /^HTTP\/1\.1 400 [^]*"code":"bad-request"/ },
  { what: 'empty lines without an end', again: '\r\n'.repeat(2_000), told: /^HTTP\/1\.1 4\d\d / },
  {
    what: 'requests without a rest, whose answers nobody waits for',
    again: lines('GET /openapi.json HTTP/1.1', 'host: a', '').repeat(200),
    told: /^HTTP\/1\.1 200 |^$/,
  },
]

/** @returns what the node said until it closed */
async function flood (t: Test, node: NodeProcess, { begins = '', again = '', times = Infinity }: Flood): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(node.http).port), noDelay: true })
  t.teardown(() => { socket.destroy() })
  let received = ''
  let ended = false
  socket.setEncoding('latin1').on('data', part => { if (received.length < 100_000) received += String(part) })
  socket.on('error', () => {}).on('end', () => { ended = true }).on('close', () => { ended = true })
  if (begins !== '') socket.write(begins)
  let left = again === '' ? 0 : times
  const pump = () => {
    for (; left > 0 && socket.writable; left--) if (!socket.write(again)) return
  }
  socket.on('drain', () => { setImmediate(pump) })
  pump()
  await until(() => ended, 20)
  return received
}

t.test('Requests that are made to cost', async t => {
  const node = await startProcess(t, t.testdir())
  const neighbour = await goodNeighbour(t, node)
  // What the first ones of a kind make the program compile and load is none of theirs.
  await request(node, '/healthz')
  const before = memoryOf(node)

  for (const each of floods) {
    t.test(`${each.what}: refused in words, where its client can read them, and ended`, async t => {
      const all = Promise.all(Array.from({ length: each.sockets ?? socketsOfEach }, () => flood(t, node, each)))
      let said: string[] | undefined
      all.then(answers => { said = answers }, () => {})
      await neighbour.goesOnUntil(() => said !== undefined)
      t.equal(neighbour.trouble, '', `the neighbour is acked all the time: ${neighbour.trouble}`)
      if (said === undefined) return
      t.comment(`memory: ${mib(memoryOf(node).ownBytes)}, ${mib(memoryOf(node).peakBytes)} at most so far`)
      const others = said.filter(answer => answer !== '' && !each.told.test(answer)).map(answer => answer.slice(0, 600))
      t.strictSame(others, [])
    })
  }

  t.test('leave the node as it was', async t => {
    const { peakBytes } = memoryOf(node)
    const grown = `memory: ${mib(before.peakBytes)} before, ${mib(peakBytes)} at most`
    t.ok(peakBytes - before.peakBytes < grownBytesMax, grown)
    t.comment(grown)
    t.equal((await request(node, '/readyz')).status, 200)
    t.strictSame(complaintsOf(node.lines), [], 'and none of it is in the log')
  })
})
