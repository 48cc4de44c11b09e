import { payloadToJson } from '../schemas/payload.js'
import { groupReplyId } from '../schemas/reply-id.js'
import type { DownlinkMessage } from './service.js'

/** A downlink that answers a record: to its user, or to others. */
export interface Reply extends DownlinkMessage {
  readonly userIds?: readonly string[]
}

export interface AckOptions { readonly replies?: readonly Reply[] }

/** Numbers of records within their user, or their room: with these, records have ids (docs/streams.md). */
const seqNames = ['userSeq', 'presenceSeq', 'receiptSeq', 'offlineSeq', 'roomSeq'] as const

/**
 * As the gateway wants them. Each has an id that is made of the record's, so that it is sent once however often the
 * record comes: the same that the gateway would give it (schemas/reply-id.ts). Here, for a record may be acked twice at
 * once, and both acks may go together.
 *
 * @throws TypeError for a record that nothing can be a reply to
 */
export function repliesOf (
  record: Record<string, unknown>, replies: readonly Reply[], of: { readonly group: string, readonly stream: string }
): object[] {
  return replies.map((reply, i) => {
    const inReplyTo = idOf(record)
    const { payload } = reply
    return {
      messageId: groupReplyId(of.group, of.stream, inReplyTo, i),
      ...reply,
      inReplyTo,
      stream: of.stream,
      payload: typeof payload === 'string' ? payload : payloadToJson(payload),
    }
  })
}

function idOf (record: Record<string, unknown>): string {
  const seqName = seqNames.find(name => name in record)
  const owner = seqName === 'roomSeq' ? record['roomId'] : record['userId']
  if (seqName === undefined) throw new TypeError('replies: want a record of a user or a room')
  return `${String(owner)}/${String(record[seqName])}`
}
