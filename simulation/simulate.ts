import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newConnectionId } from '../actors/connection/connection-id.js'
import type { Books } from '../evidence/audit.js'
import { watchBounds } from './bounds.js'
import { actionsIn, faultsIn, haveFaults } from './faults.js'
import { type Inhabitants, settle } from './inhabitants.js'
import type { Network } from './network.js'
import type { Plan } from './plan.js'
import { Random } from './random.js'
import { SharedStores } from './stores/stores.js'
import type { Trace } from './trace.js'
import { Verdict } from './verdict.js'
import type { World } from './world.js'

export interface Outcome {
  readonly seed: number
  /** What was promised and did not hold, in words; empty where all is well. */
  readonly violations: readonly string[]
  /** The last events of a run in which something did not hold. */
  readonly last: readonly string[]
  /** Of the trace. */
  readonly hash: string
  readonly events: number
  readonly virtualMs: number
  readonly faults: Readonly<Record<string, number>>
  /** What clients were told: refusals, ends of connections with their codes, moves. */
  readonly told: Readonly<Record<string, number>>
  readonly sent: number
  readonly pushed: number
  readonly posted: number
  readonly books: Books | undefined
  /** Lines of level warn and above that nodes logged, without what differs between them. */
  readonly logged: Readonly<Record<string, number>>
}

const quietMs = 15_000
const lastMax = 30

/** One run of a whole cluster in the world of this process, which begins anew. */
export async function simulate (world: World, network: Network, plan: Plan, trace: Trace): Promise<Outcome> {
  const violations: string[] = []
  world.begin(plan.seed, trace)
  network.begin()
  drawConnectionIds(world)
  world.uncaught = (error, { name }) => {
    violations.push(`${name}: nobody caught ${(error as Error).stack ?? String(error)}`)
  }
  const uncaught = (error: unknown): void => { world.uncaught(error, world.current) }
  process.on('uncaughtException', uncaught)
  process.on('unhandledRejection', uncaught)
  const dataDir = mkdtempSync(join(tmpdir(), 'ledgerline-simulation-'))
  const logged: Record<string, number> = {}
  try {
    const inhabitants = settle({
      world,
      network,
      plan,
      dataDir,
      logged (nodeId, level, said) {
        // Its name is drawn by the machine, not by the seed.
        const text = said.replaceAll(dataDir, 'DATA')
        const what = `${level} ${text.replace(/\d+/g, '#')}`
        logged[what] = (logged[what] ?? 0) + 1
        world.trace.add(`${world.nowUs} ${nodeId} logs ${level} ${text}`)
      },
      found (violation) { violations.push(violation) },
    })
    return { ...await run(inhabitants, plan, violations), logged }
  } finally {
    process.off('uncaughtException', uncaught)
    process.off('unhandledRejection', uncaught)
    rmSync(dataDir, { recursive: true })
  }
}

/** Connection ids come from a pool of the whole process, which must not have those of the run before. */
function drawConnectionIds ({ outside: { random } }: World): void {
  for (const { drawn } = random; random.drawn === drawn;) newConnectionId()
}

async function run (all: Inhabitants, plan: Plan, violations: string[]): Promise<Omit<Outcome, 'logged'>> {
  const { world, devices, service, roomHost, group, receiver, observer, stores } = all
  const busyMs = plan.minutes * 60_000
  for (const userId of new Set(devices.map(({ options }) => options.userId))) {
    const own = devices.filter(({ options }) => options.userId === userId)
    service.serve(userId, () => own.every(({ hasConnected }) => hasConnected))
  }
  const beyond = watchBounds({ ...all, snapshots: stores instanceof SharedStores ? stores.snapshots : undefined })
  const faults: Record<string, number> = {}
  const possible = {
    faults: faultsIn(all, stores, plan.faults),
    actions: actionsIn({
      ...all,
      isWhole: stores.isWhole,
      audit: () => { observer.auditInTheMiddle() },
    }, plan.faults),
  }
  for (const [name, each] of Object.entries(possible)) {
    const random = new Random(plan.seed, name)
    haveFaults(world, each, random, plan.faultEveryMs, Math.max(0, busyMs - quietMs), faults)
  }
  await world.run(busyMs)
  for (const device of devices) device.isQuiet = true
  service.isQuiet = roomHost.isQuiet = true
  if (group) group.isQuiet = true
  if (receiver) receiver.isQuiet = true
  const books = await new Verdict(all, plan.seed, !faults['clock'], violations).pass()
  violations.push(...beyond)
  return {
    seed: plan.seed,
    violations,
    last: violations.length === 0 ? [] : world.trace.last().slice(-lastMax),
    hash: world.trace.hash(),
    events: world.events,
    virtualMs: world.nowMs,
    faults,
    told: sums(devices.map(({ told }) => told)),
    sent: devices.reduce((sum, { sent }) => sum + sent.size, 0),
    pushed: [...service.queued.values()].reduce((sum, { length }) => sum + length, 0),
    posted: [...roomHost.queued.values()].reduce((sum, { size }) => sum + size, 0),
    books,
  }
}

function sums (counts: ReadonlyArray<ReadonlyMap<string, number>>): Record<string, number> {
  const all: Record<string, number> = {}
  for (const [what, count] of counts.flatMap(each => [...each])) all[what] = (all[what] ?? 0) + count
  return all
}
