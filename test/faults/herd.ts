import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'
import { createClient } from '../../client/node.js'
import { findPort } from '../cluster/server-process.js'
import { memoryOf, mib } from './neighbour.js'
import { startProcess, tokenFor, until } from './node-process.js'

/** What ip-config says of waits (gateway/node-table.ts). */
const baseMs = 1_000
const capMs = 60_000

/** What a gateway may use with nobody there, and for each client that comes back: generous, for V8 collects late. */
const baseBytes = 250 << 20
const bytesOfEach = 60 << 10

/**
 * Kills a gateway under so many clients of the SDK, half of them over TCP and half over WebSocket, and starts it again:
 * all of them are back, each within the waits that it was told.
 *
 * @param options.isMoreThanItTakes at once: some of them may have to ask again
 */
export async function killUnderHerd (t: Test, size: number, { isMoreThanItTakes = false } = {}): Promise<void> {
  const directory = t.testdir()
  const ports = { LEDGERLINE_HTTP_PORT: `${await findPort()}`, LEDGERLINE_TCP_PORT: `${await findPort()}` }
  const start = async () => await startProcess(t, directory, ports)
  const node = await start()
  const herd = await Promise.all(Array.from({ length: size }, (_, i) => i).map(async i => {
    const token = await tokenFor(`user${i}`)
    const client = createClient({
      ipConfig: `${node.http}/v1/ip-config`, transport: i % 2 ? 'tcp' : 'ws', getToken: () => token, deviceId: 'd',
    })
    t.teardown(async () => { await client.close() })
    return new Member(client)
  }))
  for (const { client } of herd) client.connect()
  await until(() => herd.every(({ isConnected }) => isConnected), 50)

  await node.kill('SIGKILL')
  const again = await start()
  const readyAtMs = performance.now()
  for (const member of herd) member.attemptsFrom(readyAtMs)
  await until(() => herd.every(({ isConnected }) => isConnected), 50)
  const { peakBytes } = memoryOf(again)
  t.comment(`all are back ${Math.round(performance.now() - readyAtMs)} ms after the gateway; ` +
    `it took ${Math.round(Math.max(...herd.map(({ tookMs }) => tookMs)))} ms at most to let one in; ` +
    `its memory was ${mib(peakBytes)} at most`)
  t.ok(peakBytes < baseBytes + size * bytesOfEach, `${mib(peakBytes)} at most`)

  const refusals = herd.flatMap(member => member.refusals)
  t.comment(`${refusals.length} attempts came to nothing`)
  if (!isMoreThanItTakes) t.strictSame(refusals, [], 'each is let in when it asks, the first time')
  const isLate = (ms: number, i: number) => ms > Math.min(capMs, baseMs * 2 ** i)
  t.strictSame(herd.flatMap(({ waitsMs }) => waitsMs.filter(isLate)), [], 'and asks within the bound of its backoff')
  t.ok(herd.every(({ waitsMs }) => waitsMs.length > 0), 'and each had to wait')
  if (isMoreThanItTakes) return

  await t.test('overflow no accept queue', { skip: noSocketStatistics() }, async t => {
    for (const port of Object.values(ports)) t.equal(droppedAt(port), 0, `none was dropped at port ${port}`)
  })
}

class Member {
  isConnected = false
  /** Waits that it was told, since it was dropped. */
  readonly waitsMs: number[] = []
  /** Ends of attempts that began when the gateway was back. */
  readonly refusals: string[] = []
  /** From the beginning of the attempt that came to something. */
  tookMs = 0
  #attemptAtMs = 0
  #fromMs = Infinity

  constructor (readonly client: ReturnType<typeof createClient>) {
    client.on('connecting', () => { this.#attemptAtMs = performance.now() })
    client.on('connected', () => {
      this.isConnected = true
      this.tookMs = performance.now() - this.#attemptAtMs
    })
    client.on('disconnected', ({ code, reason, retryInMs }) => {
      this.isConnected = false
      this.waitsMs.push(retryInMs)
      if (this.#attemptAtMs > this.#fromMs) this.refusals.push(`${code}: ${reason}`)
    })
  }

  attemptsFrom (ms: number): void {
    this.#fromMs = ms
  }
}

function noSocketStatistics (): string | false {
  try {
    execFileSync('ss', ['-V'], { stdio: 'ignore' })
    return false
  } catch {
    return 'needs ss: apt-get install iproute2'
  }
}

/** Connections that this listener did not take, as its accept queue was full: what TcpExtListenDrops counts of all. */
function droppedAt (port: string): number {
  const text = execFileSync('ss', ['-Hlntm', `sport = :${port}`], { encoding: 'utf8' })
  return Number(/skmem:\([^)]*\bd(\d+)\)/.exec(text)?.[1])
}
