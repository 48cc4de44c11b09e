import { createHash } from 'node:crypto'
import { idBytesMax, utf8Fits } from './text.js'

/*
  Ids of downlinks that answer a record, where whoever answers gives them none: the same each time that the record is
  answered, and others for everybody else who answers it, so that a record that comes again is answered once by each.

    group/GROUP/STREAM/RECORD/reply/NTH
    webhook/WEBHOOK/RECORD/reply/NTH
      RECORD => its id, within the stream or of all streams; 27 characters of base64url of its SHA-256 where the whole
        would be longer than an id may be
      NTH => replies to this record before it, in the same answer

  No two are the same: names of groups, streams and webhooks have no "/", and neither has a digest, as the id of a
  record within a stream has.
*/

/** @param recordId within the stream, such as `ann/52` */
export function groupReplyId (group: string, stream: string, recordId: string, nth: number): string {
  return replyId(`group/${group}/${stream}`, recordId, nth)
}

/** @param recordId as the webhook was told it, such as `msg_...` */
export function webhookReplyId (webhook: string, recordId: string, nth: number): string {
  return replyId(`webhook/${webhook}`, recordId, nth)
}

function replyId (by: string, recordId: string, nth: number): string {
  const idWith = (record: string) => `${by}/${record}/reply/${nth}`
  const id = idWith(recordId)
  if (utf8Fits(id, idBytesMax)) return id
  return idWith(createHash('sha256').update(recordId).digest('base64url').slice(0, 27))
}
