import type { SetAside } from '../set-aside.js'
import type { WriteBatch } from './batch.js'
import { blockHeaderBytes, openBlock, sealBlock } from './block.js'
import { blockKey } from './keys.js'
import type { PartitionLog } from './partition.js'

/** Last blocks that the disk damaged. Each is set aside, and a mark is written in its place: nobody waits for it. */
export class Tombstones {
  readonly #setAside: SetAside
  #unwritten: Array<{ log: PartitionLog, offset: number }> = []

  constructor (setAside: SetAside) {
    this.#setAside = setAside
  }

  checkLast (log: PartitionLog): void {
    const last = log.next - 1
    if (last < log.first) return
    const bytes = log.readBytes(last)
    if (bytes && openBlock(bytes)?.offset === last) return
    const reason = bytes ? 'its checksum is wrong' : 'it is missing'
    this.#setAside.add(log.stream, log.partition, BigInt(last), bytes ?? Buffer.alloc(0), reason)
    this.#unwritten.push({ log, offset: last })
  }

  write (batch: WriteBatch, atMs: number): void {
    for (const { log, offset } of this.#unwritten.splice(0)) {
      const commit = log.index.commitOf(offset)
      if (commit === undefined) continue
      const block = batch.room(blockHeaderBytes)
      sealBlock(block, atMs, offset, -1, true)
      batch.put(blockKey(commit, log.streamId, log.partition), block)
    }
  }
}
