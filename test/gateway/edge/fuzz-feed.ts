import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Test } from 'tap'
import type { TestNode } from '../node.js'
import { ackedUpTo, alive, connected, connectFrame, dialects, type Speaker, uplinks } from './dialects.js'
import type { Meal } from './fuzz-meals.js'
import type { Sent } from './hand-avro.js'

/** Mutated frames that a node is fed with. */
const framesMin = 100_000
const connectionsAtOnce = 64
const graceMs = 20

/** How a connection ended. */
export interface Outcome {
  readonly received: Buffer
  /** The server closed its half before we did ours. */
  readonly serverFirst: boolean
  readonly failure: Error | undefined
}

/** Sends it all, gives the server a little time to close, closes its half then, and reads what comes until the end. */
export function feed (port: number, { upgrade, first, waits, rest }: Meal): Promise<Outcome> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
    const chunks: Buffer[] = []
    let failure: Error | undefined
    let ended = false
    let serverFirst = false
    const sendLast = (parts: Buffer[]) => {
      // In one piece or in as many as there are frames.
      for (const part of parts.length % 2 === 0 ? [Buffer.concat(parts)] : parts) socket.write(part)
      setTimeout(() => {
        ended = true
        socket.end()
      }, graceMs)
    }
    // Each but the first waits for an answer.
    const steps: Array<() => void> = []
    if (upgrade) steps.push(() => { socket.write(upgrade) })
    if (waits) steps.push(() => { socket.write(first) }, () => { sendLast(rest) })
    else steps.push(() => { sendLast([first, ...rest]) })
    socket.on('connect', () => { steps.shift()!() })
    socket.on('data', chunk => {
      chunks.push(chunk)
      steps.shift()?.()
    })
    socket.on('end', () => {
      serverFirst = !ended
      steps.length = 0
      socket.end()
    })
    socket.on('error', err => { failure = err })
    socket.on('close', () => { resolve({ received: Buffer.concat(chunks), serverFirst, failure }) })
  })
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function usedBytes (): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Feeds until `framesMin` mutated frames were sent. What memory that needs, the first half of it has shown. */
export async function feedAll (
  t: Test, cook: (seed: number, hello: Sent) => Meal, wrongEnd: (outcome: Outcome, meal: Meal) => string | undefined,
  node: TestNode, port: number, seedBase: number
): Promise<void> {
  const hellos = await Promise.all(Array.from({ length: connectionsAtOnce * 2 }, (_, i) =>
    connectFrame(node, `fuzz-${i}`, { downlinkSeq: i % 2 })))
  let seed = seedBase
  let fed = 0
  const wrong: string[] = []
  const worker = async (framesWanted: number): Promise<void> => {
    while (fed < framesWanted && wrong.length < 5) {
      const mine = seed++
      const served = cook(mine, hellos[mine % hellos.length]!)
      fed += served.mutated
      const what = wrongEnd(await feed(port, served), served)
      if (what) wrong.push(`seed ${mine}: ${what}`)
    }
  }
  const feedUpTo = (frames: number) => Promise.all(Array.from({ length: connectionsAtOnce }, () => worker(frames)))
  await feedUpTo(framesMin / 2)
  const before = usedBytes()
  await feedUpTo(framesMin)
  const grownBytes = usedBytes() - before
  t.strictSame(wrong, [], 'every connection ended as documented')
  t.ok(fed >= framesMin, `${fed} mutated frames on ${seed - seedBase} connections`)
  t.ok(grownBytes < 32 << 20, `memory grew by ${grownBytes} bytes over the second half`)
}

/** The bystander never noticed, and a newcomer of any dialect finds nothing unusual. */
export async function servesOthers (t: Test, node: TestNode, bystander: Speaker): Promise<void> {
  await alive(t, bystander)
  for (const [i, dialect] of dialects.entries()) {
    const { client, welcome } = await connected(t, node, dialect, `after-${i}`)
    t.match(welcome, { resumed: false, uplinkSeq: 0, missed: 0 })
    client.sendAll(uplinks(1, 10))
    t.strictSame(await ackedUpTo(client, 10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    await node.push(`after-${i}`, 'still here')
    t.match(await client.next(), { op: 'downlink', seq: 1, payload: 'still here' })
    client.send({ op: 'ping', downlinkSeq: 1 })
    t.strictSame(await client.next(), { op: 'pong', uplinkSeq: 10 })
  }
  t.strictSame(node.logged, [])
}
