import type { Test } from 'tap'
import type { Environment } from '../../../gateway/setting.js'
import { startProcess } from '../../faults/node-process.js'
import { jwtSecret, startTestNode, TestNode } from '../../gateway/node.js'

/** Something that goes wrong with a gateway or with who talks to it, and how the console tells what. */
export interface Incident {
  /** As docs/debugging.md and its picture name it. */
  readonly name: string
  readonly settings?: Environment
  /** Before the node starts: what its settings then name. */
  readonly prepare?: (t: Test) => Promise<Environment>
  /** In a process of its own: who plants it would have the node wait for him. */
  readonly isApart?: boolean
  /** Brings it about, and goes on with that until the test ends. */
  plant (t: Test, node: TestNode): Promise<void>
  /** What stands on the overview: what is wrong, and what ends it. */
  readonly says: readonly RegExp[]
  /** The page behind the link there, and what it says. */
  readonly leads?: { readonly link: string, readonly heading: string, readonly says: readonly RegExp[] }
}

/** Reports come every second. */
export const quickly: Environment = { LEDGERLINE_LEASE_MS: '3000' }

/** Does something again and again until the test ends; what fails meanwhile fails alone. */
export function repeat (t: Test, everyMs: number, work: () => unknown): void {
  let isOver = false
  t.teardown(() => { isOver = true })
  const turn = async () => {
    await Promise.resolve().then(work).catch(() => {})
    if (!isOver) setTimeout(() => { turn() }, everyMs)
  }
  turn()
}

/** The node of an incident, before anything is wrong with it. */
export async function startFor (t: Test, { settings, prepare, isApart }: Incident): Promise<TestNode> {
  const environment = { ...settings, ...await prepare?.(t) }
  return isApart ? await startApart(t, environment) : await startTestNode(t, environment)
}

export async function startApart (t: Test, environment: Environment, directory = t.testdir()): Promise<TestNode> {
  const node = await startProcess(t, directory, {
    LEDGERLINE_API_KEYS: 'the-key-of-a-test-node', LEDGERLINE_JWT_SECRET: jwtSecret, ...environment as Record<string, string>,
  })
  return new TestNode({ ...node, stop: async () => { await node.kill('SIGKILL') } }, [])
}
