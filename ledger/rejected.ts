import { loadHistory } from '../schemas/avsc-files.js'
import type { DownlinkRecord, DownlinkRejected } from '../schemas/records.js'
import { fingerprintOf } from '../schemas/single-object.js'
import { downlinks, downlinksRejected, type Stream } from '../schemas/streams.js'
import { decodeForeign, singleObjectFormat } from './kafka/format.js'

/** What was set aside from a stream: the bytes as they were stored, why, and when. */
export type Rejected = DownlinkRejected

/** Where a stored record was that nobody can take, and why nobody can. */
export interface RejectedAt {
  readonly stream: string
  readonly partition: number
  readonly offset: bigint
  readonly reason: string
}

/** Where records of `stream` go that nobody can take: `<stream>.rejected`. */
export function rejectedStream (stream: Stream<any>): Stream<Rejected> {
  return { ...downlinksRejected, name: `${stream.name}.rejected` }
}

export function isRejectedStream (stream: Pick<Stream<any>, 'name'>): boolean { return stream.name.endsWith('.rejected') }

/** @param where what names the record in its stream, `3@1021` */
export function rejectedRecord (bytes: Uint8Array, where: string, reason: string, rejectedAtMs: number): Rejected {
  return { userId: '', command: Buffer.from(bytes), code: 'bad-record', reason: `${where}: ${reason}`, rejectedAtMs }
}

/** What `downlinks.rejected` has of a command that could be read: single-object encoding, so any schema reads it. */
export function commandBytes (command: DownlinkRecord): Buffer {
  return Buffer.from(singleObjectFormat.encode(downlinks, command))
}

/**
 * The command of a record of `downlinks.rejected`; undefined where it was rejected for being unreadable. Versions
 * before wrote no header: one schema alone ends where those bytes do.
 */
export function commandOf (bytes: Uint8Array): DownlinkRecord | undefined {
  bare ??= bareSchemas()
  const readers = [
    () => singleObjectFormat.decode(downlinks, bytes),
    ...bare.map(blocks => () => decodeForeign(downlinks, blocks, bytes, 0)),
  ]
  for (const read of readers) {
    try {
      return read()
    } catch { /* of another schema */ }
  }
  return undefined
}

let bare: bigint[] | undefined

/** Fingerprints of blocks of the schemas that commands without a header may have. */
function bareSchemas (): bigint[] {
  const ofCommands = (schema: object) => 'name' in schema && schema.name === 'DownlinkCommand'
  return loadHistory().filter(ofCommands as (schema: unknown) => boolean)
    .map(schema => fingerprintOf({ type: 'array', items: schema }))
}
