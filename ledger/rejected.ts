import type { DownlinkRejected } from '../schemas/records.js'
import { downlinksRejected, type Stream } from '../schemas/streams.js'

/** What was set aside from a stream: the bytes as they were stored, why, and when. */
export type Rejected = DownlinkRejected

/** Where records of `stream` go that nobody can take: `<stream>.rejected`. */
export function rejectedStream (stream: Stream<any>): Stream<Rejected> {
  return { ...downlinksRejected, name: `${stream.name}.rejected` }
}

export function isRejectedStream (stream: Pick<Stream<any>, 'name'>): boolean { return stream.name.endsWith('.rejected') }

/** @param where what names the record in its stream, `3@1021` */
export function rejectedRecord (bytes: Uint8Array, where: string, reason: string, rejectedAtMs: number): Rejected {
  return { userId: '', command: Buffer.from(bytes), code: 'bad-record', reason: `${where}: ${reason}`, rejectedAtMs }
}
