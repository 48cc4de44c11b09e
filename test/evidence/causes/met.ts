import type { Test } from 'tap'
import type { LogReader } from '../../../ledger/log.js'
import { ledger } from '../../../schemas/streams.js'
import { openLog } from '../../gateway/edge/facts.js'
import { connected, type Speaker } from '../../gateway/edge/dialects.js'
import type { Heard } from '../../gateway/edge/hand-avro.js'
import { startTestNode, type TestNode } from '../../gateway/node.js'
import type { Environment } from '../../../gateway/setting.js'
import { judge } from './told.js'
import type { Judged, Planted } from './planted.js'

/** Real clients do something to messages of a real gateway. */
export interface MetFault {
  readonly fault: string
  meet (place: Place): Promise<void>
}

/** A user of a fault's own, and what it plants. */
export class Place {
  readonly planted: Planted[] = []

  constructor (readonly t: Test, readonly node: TestNode, readonly fault: string, readonly userId: string) {}

  async connect (more: Record<string, unknown> = {}): Promise<{ client: Speaker, welcome: Heard }> {
    return await connected(this.t, this.node, 'TCP', this.userId, more)
  }

  /** Pushes to the user, and plants it. */
  async push (messageId: string, expected: string, more: Record<string, unknown> = {}): Promise<void> {
    this.plantDownlink(messageId, expected)
    await this.node.push(this.userId, `payload of ${messageId}`, { messageId, ...more })
  }

  plantDownlink (messageId: string, expected: string): void {
    const { fault, userId } = this
    this.planted.push({ fault, userId, inquiry: { messageId }, expected })
  }

  plantUplinks (from: number, to: number, expected: string): void {
    const { fault, userId } = this
    for (let seq = from; seq <= to; seq++) {
      this.planted.push({ fault, userId, inquiry: { sessionId: 's1', seq }, expected })
    }
  }
}

/** Starts a gateway, lets every fault happen `times` times beside the others, and asks once all is quiet. */
export async function meetAll (
  t: Test, environment: Environment, faults: readonly MetFault[], times: number
): Promise<Judged[]> {
  const node = await startTestNode(t, { LEDGERLINE_CLOCK_TOLERANCE_MS: '0', ...environment })
  const places: Place[] = []
  await Promise.all(faults.map(async ({ fault, meet }) => {
    for (let i = 0; i < times; i++) {
      const place = new Place(t, node, fault, `${fault} ${i}`)
      places.push(place)
      await meet(place)
    }
  }))
  const log = await openLog(node)
  const judged = await judgeSettled(log, places.flatMap(({ planted }) => planted))
  await log.close()
  await node.stop()
  return judged
}

/** Edges tell of refusals once a second. */
const quietMs = 1_500

/**
 * Once the ledger is quiet. Then a fact may still be on its way, such as an uplink to its stream: asks again until the
 * answers are what they must be, or have had long enough.
 */
export async function judgeSettled (log: LogReader, planted: readonly Planted[]): Promise<Judged[]> {
  await quiet(log)
  for (const end = Date.now() + 60_000; ; await new Promise(resolve => setTimeout(resolve, 100))) {
    const judged = await judge(log, planted)
    if (Date.now() > end || judged.every(({ found, expected }) => found === expected)) return judged
  }
}

/** Waits until nothing is added to the ledger any more. */
export async function quiet (log: LogReader): Promise<void> {
  const ends = async () => {
    const partitions = Array.from({ length: log.partitions(ledger) }, async (_, partition) =>
      (await log.bounds(ledger, partition)).next)
    return String(await Promise.all(partitions))
  }
  let since = Date.now()
  for (let last = await ends(); Date.now() - since < quietMs;) {
    await new Promise(resolve => setTimeout(resolve, 100))
    const now = await ends()
    if (now !== last) since = Date.now()
    last = now
  }
}
