import { totalmem } from 'node:os'
import { performance } from 'node:perf_hooks'
import type { EventLog } from '../ledger/log.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { NodeFact, NodeStarted } from '../schemas/records.js'
import { nodes } from '../schemas/streams.js'

const reportEveryMs = 5_000

/** The start is told again long before retention takes it from the stream: without it a rebuild has no address. */
const repeatStartEveryMs = 3_600_000

/** Three reports may be late or lost before others take the node for lost. */
export const leaseMs = 3 * reportEveryMs

export interface NodeReporter {
  /** Tells the others that this node is gone for good. */
  stop (): Promise<void>
}

/** Announces this node on the `nodes` stream and renews its lease with a load report every few seconds. */
export async function announceNode (
  log: EventLog, nodeId: string, epoch: number, started: Omit<NodeStarted, 'type'>, connections: () => number,
  failed: (error: Error) => void
): Promise<NodeReporter> {
  const partition = partitionOf(nodeId, log.partitions(nodes))
  const tell = async (fact: NodeFact) => {
    await log.append(nodes, partition, [{ nodeId, epoch, atMs: Date.now(), fact }])
  }
  let lastUtilization = performance.eventLoopUtilization()
  const report = async () => {
    const utilization = performance.eventLoopUtilization()
    const { utilization: eventLoopUtilization } = performance.eventLoopUtilization(utilization, lastUtilization)
    lastUtilization = utilization
    await tell({
      type: 'NodeReported',
      connections: connections(),
      eventLoopUtilization,
      rssBytes: process.memoryUsage.rss(),
      memoryBytesMax: memoryBytesMax(),
    })
  }
  const start = () => tell({ type: 'NodeStarted', ...started })
  await start()
  const timers = [
    setInterval(() => { report().catch(failed) }, reportEveryMs),
    setInterval(() => { start().catch(failed) }, repeatStartEveryMs),
  ]
  return {
    async stop () {
      for (const timer of timers) clearInterval(timer)
      await tell({ type: 'NodeStopped' })
    },
  }
}

/** What a container allows, or the machine has. */
function memoryBytesMax (): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem()
}
