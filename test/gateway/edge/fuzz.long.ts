import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { goodNeighbour } from '../../faults/neighbour.js'
import { apiKey, type NodeProcess, request, startProcess, tokenFor, until } from '../../faults/node-process.js'
import { feed } from './fuzz-feed.js'
import { feedHttp, feedTls, goodRequests } from './fuzz-http.js'
import { meal } from './fuzz-meals.js'
import { avro, type Sent, withLength } from './hand-avro.js'
import { binary, rawFrame, text, upgradeRequest } from './raw-websocket.js'

/*
  Mutations of good conversations against a process of its own. By hand, with as many as there is time for:

    FUZZ_FRAMES=1000000 FUZZ_REQUESTS=100000 npx tap --timeout=7200 dist/test/gateway/edge/fuzz.long.js

  FUZZ_SEED is the first seed. Each connection has the next one; what a failure names can be had again with it.
*/
const frames = Number(process.env['FUZZ_FRAMES'] ?? 30_000)
const requests = Number(process.env['FUZZ_REQUESTS'] ?? 2_000)
const firstSeed = Number(process.env['FUZZ_SEED'] ?? 1)

const feedersAtOnce = 48

/** What a node may use more than before once nobody is there: generous, for it depends on when V8 collects. */
const grownBytesMax = 64 << 20

interface Figures {
  readonly connections: number
  readonly intakeBytes: number
  readonly usedBytes: number
  readonly lagMs: number
}

async function figuresOf (node: NodeProcess): Promise<Figures> {
  const { text } = await request(node, '/metrics')
  const read = (name: string) => Number(new RegExp(`^${name}(?:{[^}]*})? (\\S+)`, 'm').exec(text)![1])
  return {
    connections: read('ledgerline_connections'),
    intakeBytes: read('ledgerline_intake_bytes'),
    usedBytes: read('nodejs_heap_size_used_bytes') + read('nodejs_external_memory_bytes'),
    lagMs: read('nodejs_eventloop_lag_max_seconds') * 1_000,
  }
}

function descriptorsOf ({ pid }: NodeProcess): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** One connection's worth for `seed`; resolves with how many mutations went out. */
type Feeder = (seed: number) => Promise<number>

/**
 * Feeds a node until `wanted` mutations were sent: half of it shows what memory that takes, and the other half must not
 * take more.
 */
async function withstands (t: Test, node: NodeProcess, what: string, wanted: number, feeder: Feeder): Promise<void> {
  const neighbour = await goodNeighbour(t, node)
  const underWay = new Set<number>()
  let exited = false
  node.exit.then(() => { exited = true }, () => {})
  let seed = firstSeed
  let fed = 0
  let lagMs = 0
  let busyLooks = 0
  let looks = 0
  const isWell = () => !exited && neighbour.trouble === ''
  const worker = async (upTo: number): Promise<void> => {
    while (fed < upTo && isWell()) {
      const mine = seed++
      underWay.add(mine)
      const mutations = await feeder(mine)
      fed += mutations
      underWay.delete(mine)
    }
  }
  const look = setInterval(() => {
    figuresOf(node).then(figures => {
      looks++
      lagMs = Math.max(lagMs, figures.lagMs)
      if (figures.lagMs > 50) busyLooks++
    }, () => {})
  }, 1_000)
  t.teardown(() => { clearInterval(look) })
  const feedUpTo = async (upTo: number) => {
    await Promise.all(Array.from({ length: feedersAtOnce }, () => worker(upTo)))
  }
  await figuresOf(node) // the longest halt begins anew at each look: that of the start is none of ours
  const startMs = performance.now()
  await feedUpTo(wanted / 2)
  t.ok(isWell(), `well after half of it; seeds ${[...underWay].join(' ')}; ${neighbour.trouble}`)
  if (!isWell()) return
  await calm(node)
  const before = await figuresOf(node)
  const descriptors = descriptorsOf(node)
  await feedUpTo(wanted)
  const seconds = (performance.now() - startMs) / 1_000
  clearInterval(look)
  t.ok(isWell(), `well after all of it; seeds ${[...underWay].join(' ')}; ${neighbour.trouble}`)
  if (!isWell()) return
  await calm(node)
  // The test's own time limit is the bound: V8 collects when the node has been idle for a while.
  await until(async () => (await figuresOf(node)).usedBytes < before.usedBytes + grownBytesMax, 1_000)
  await until(() => descriptorsOf(node) <= descriptors + 8, 100)
  const after = await figuresOf(node)
  await neighbour.goesOn()
  t.equal(neighbour.trouble, '', 'the neighbour is acked as ever')
  t.strictSame(node.lines.filter(({ level }) => level >= 50), [], 'nothing that the log would call an error')
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1)
  t.comment(`${what}: ${fed} mutations on ${seed - firstSeed} connections, seeds from ${firstSeed}, ` +
    `in ${seconds.toFixed(0)} s; ` +
    `event loop held up for ${lagMs.toFixed(0)} ms at most, over 50 ms in ${busyLooks} of ${looks} seconds; ` +
    `memory ${mib(before.usedBytes)} MiB after half, ${mib(after.usedBytes)} MiB at the end; ` +
    `neighbour: ${neighbour.acked} acks, the slowest after ${neighbour.slowestMs.toFixed(0)} ms`)
}

/** Nobody but the neighbour is there, and nothing waits to be dealt with. */
async function calm (node: NodeProcess): Promise<void> {
  await until(async () => {
    const { connections, intakeBytes } = await figuresOf(node)
    return connections === 1 && intakeBytes < 4_096
  }, 500)
}

/** A process, and the first frame of some users of it. */
async function given (t: Test, env: Record<string, string> = {}) {
  const node = await startProcess(t, t.testdir(), {
    LEDGERLINE_FRAME_BYTES_MAX: '4096', LEDGERLINE_BYTE_RATE: '0', LEDGERLINE_USER_BYTE_RATE: '0', ...env,
  })
  const hellos: Sent[] = []
  for (let i = 0; i < 128; i++) {
    const token = await tokenFor(`fuzz-${i}`)
    hellos.push({ op: 'connect', token, deviceId: 'phone', sessionId: 's1', downlinkSeq: i % 2 })
  }
  return { node, hello: (seed: number) => hellos[seed % hellos.length]! }
}

t.comment(`FUZZ_FRAMES=${frames} FUZZ_REQUESTS=${requests} FUZZ_SEED=${firstSeed}`)

const asJson = (frame: Sent) => Buffer.from(JSON.stringify(frame))
const inText = (frame: Buffer) => rawFrame(text, frame)
const inBinary = (frame: Buffer) => rawFrame(binary, frame)
const [avroUpgrade, jsonUpgrade] = [upgradeRequest('ledgerline.v1.avro'), upgradeRequest('ledgerline.v1.json')]

t.test('A process withstands mutated', async t => {
  for (const [what, cook] of Object.entries({
    'frames over TCP': (seed: number, hello: Sent) => meal(seed, hello, avro, withLength),
    'frames in Avro over WebSocket': (seed: number, hello: Sent) => meal(seed, hello, avro, inBinary, avroUpgrade),
    'frames in JSON over WebSocket': (seed: number, hello: Sent) => meal(seed, hello, asJson, inText, jsonUpgrade),
  })) {
    await t.test(what, async t => {
      const { node, hello } = await given(t)
      const port = Number(new URL(what.endsWith('TCP') ? node.tcp : node.http).port)
      await withstands(t, node, what, frames, async seed => {
        const cooked = cook(seed, hello(seed))
        await feed(port, cooked)
        return cooked.mutated
      })
    })
  }

  await t.test('requests over HTTP', async t => {
    const { node } = await given(t)
    const port = Number(new URL(node.http).port)
    const good = goodRequests(apiKey)
    await withstands(t, node, 'requests over HTTP', requests, seed => feedHttp(port, seed, good))
  })

  await t.test('records of TLS', { skip: opensslMissing() ?? false }, async t => {
    const { server } = await makeCertificates(t)
    // For the requests that read what the node tells of itself.
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    t.teardown(() => { delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'] })
    const { node, hello } = await given(t, { LEDGERLINE_TLS_CERT: server.cert, LEDGERLINE_TLS_KEY: server.key })
    const ports = [node.http, node.tcp].map(url => Number(new URL(url).port))
    await withstands(t, node, 'records of TLS', requests, seed => {
      const overTcp = seed % 8 < 4
      return feedTls(ports[overTcp ? 1 : 0]!, seed, overTcp ? withLength(avro(hello(seed))) : jsonUpgrade)
    })
  })
})
