import { parentPort, workerData } from 'node:worker_threads'
import { fold } from '../../actors/user/fold.js'
import { newUser } from '../../actors/user/state.js'
import { ledger } from '../../schemas/streams.js'
import { Comparison, type ComparisonReport } from './comparison.js'
import { loadFold } from './foreign-fold.js'

/** What the worker of a sandbox is started with. */
export interface SandboxData { readonly file: string, readonly listMax: number }

/** Entries of one block of the ledger, by their places in it. */
export interface EncodedBlock {
  readonly judged: boolean
  readonly partition: number
  readonly offset: bigint
  readonly indexes: readonly number[]
  /** The entries, as the ledger's `encodeBlock` gives them. */
  readonly body: Uint8Array
}

export type ToSandbox =
  | { readonly type: 'blocks', readonly blocks: readonly EncodedBlock[] }
  | { readonly type: 'endPartition' }
  | { readonly type: 'finish' }

export type FromSandbox =
  /** The fold is loaded, or a message of blocks is done. */
  | { readonly type: 'ready' }
  | { readonly type: 'unusable', readonly message: string }
  | { readonly type: 'report', readonly report: ComparisonReport }

function take (comparison: Comparison, { judged, partition, offset, indexes, body }: EncodedBlock): void {
  const entries = ledger.decodeBlock(body)
  for (let i = 0; i < entries.length; i++) {
    comparison.take({ position: { partition, offset, index: indexes[i]! }, entry: entries[i]! }, judged)
  }
}

const { file, listMax } = workerData as SandboxData
const port = parentPort!
const tell = (message: FromSandbox): void => { port.postMessage(message) }

try {
  const comparison = new Comparison({ fold, newUser }, await loadFold(file), listMax)
  port.on('message', (message: ToSandbox) => {
    switch (message.type) {
      case 'blocks':
        for (const block of message.blocks) take(comparison, block)
        tell({ type: 'ready' })
        return
      case 'endPartition': comparison.endPartition(); return
      case 'finish': tell({ type: 'report', report: comparison.report() })
    }
  })
  tell({ type: 'ready' })
} catch (err) {
  tell({ type: 'unusable', message: (err as Error).message })
}
