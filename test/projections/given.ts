import fc from 'fast-check'
import { noReport } from '../../projections/nodes.js'
import type { ConnectionClosed, ConnectionOpened, Entry } from '../../schemas/facts.js'
import type { NodeEntry, NodeFact } from '../../schemas/node-facts.js'
import * as facts from '../facts.js'

type At<F> = Partial<F> & { readonly atMs?: number }

export function opened (userId: string, connectionId: string, more: At<ConnectionOpened> = {}): Entry {
  const { atMs = 1000, ...rest } = more
  return { userId, atMs, fact: facts.opened(connectionId, rest) }
}

export function closed (userId: string, connectionId: string, more: At<ConnectionClosed> = {}): Entry {
  const { atMs = 2000, ...rest } = more
  return { userId, atMs, fact: facts.closed(connectionId, rest) }
}

export function uplink (userId: string, connectionId: string, seq = 1, atMs = 1500): Entry {
  const fact = { type: 'UplinkReceived', connectionId, seq, service: '', payload: new Uint8Array(), priority: 0, roomId: '' } as const
  return { userId, atMs, fact }
}

export function node (nodeId: string, epoch: number, atMs: number, fact: NodeFact): NodeEntry {
  return { nodeId, epoch, atMs, fact }
}

export const started: NodeFact = {
  type: 'NodeStarted',
  region: 'eu',
  roles: 'edge',
  version: '1.0.0',
  wsUrl: 'wss://a',
  tcpUrl: 'tcp://a',
  connectionsMax: 1000,
  leaseMs: 15_000,
}

export function reported (connections = 10): NodeFact {
  return { type: 'NodeReported', ...noReport, connections, eventLoopUtilization: 0.2, rssBytes: 100, memoryBytesMax: 1000 }
}

const users = ['ann', 'bob', 'cleo']

/** Opens, closes and uplinks of connections `c0` to `c9`, in any order that one edge can produce; no repeats. */
export const story: fc.Arbitrary<Entry[]> = fc.array(fc.nat(9), { maxLength: 40 }).map(picks => {
  const seen = new Map<number, number>()
  return picks.map((pick, i) => {
    const times = seen.get(pick) ?? 0
    seen.set(pick, times + 1)
    const userId = users[pick % users.length]!
    // The clocks of nodes differ: time goes back now and then.
    const atMs = 1000 + 10 * i - 35 * (i % 2)
    const connectionId = `c${pick}`
    if (times === 0) return opened(userId, connectionId, { atMs, nodeId: `n${pick % 2}`, nodeEpoch: pick % 4 })
    return times === 1 ? closed(userId, connectionId, { atMs }) : uplink(userId, connectionId, times, atMs)
  })
})

/** The items as blocks of any size, in which any item or whole block stands again, any time after the first. */
export function withRepeats<T> (items: fc.Arbitrary<T[]>): fc.Arbitrary<{ items: T[], blocks: T[][] }> {
  const repeats = fc.array(fc.record({ of: fc.nat(), after: fc.nat(), whole: fc.boolean() }), { maxLength: 12 })
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 40, maxLength: 40 })
  return fc.tuple(items, sizes, repeats).map(([items, sizes, repeats]) => {
    const blocks: T[][] = []
    for (let from = 0, i = 0; from < items.length; from += sizes[i % sizes.length]!, i++) {
      blocks.push(items.slice(from, from + sizes[i % sizes.length]!))
    }
    for (const { of, after, whole } of blocks.length > 0 ? repeats : []) {
      const source = of % blocks.length
      const target = source + after % (blocks.length - source)
      const block = blocks[source]!
      if (whole) blocks.splice(target + 1, 0, block)
      else blocks[target] = [...blocks[target]!, block[of % block.length]!]
    }
    return { items, blocks }
  })
}
