import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { parseAckCursor } from '../groups/ack-cursor.js'
import type { PushAnswer } from '../push.js'
import { repliesMax, repliesOfAck } from '../replies.js'
import { Turns } from '../turns.js'
import { requireScope, takeRecipients } from './auth.js'
import { traceOf } from './downlink-message.js'
import type { DownlinksOptions } from './downlinks-many.js'

/* Downlinks that answer records of a group, with the ack of these (docs/decisions/0046-replies-with-an-ack.md). */

/** Each is looked at by itself, so that one that is wrong takes neither the others nor the acks with it. */
export const repliesSchema = {
  type: 'array',
  maxItems: repliesMax,
  items: { type: 'object' },
  description: 'downlinks, stored before anything is acked: each has the fields of `POST /v1/downlinks` but for `to`, ' +
    'with `inReplyTo`, the id of the record that it answers, `stream`, which that is of, unless all cursors are of one, ' +
    'and `userIds` where it is not of one user, or others get it',
}

export const replyOutcomesSchema = {
  type: 'array',
  description: 'for each reply, in order: `users` as `POST /v1/downlinks` tells them, or why it is not sent',
  items: {
    type: 'object',
    properties: {
      messageId: { type: 'string' },
      users: {
        type: 'array',
        items: {
          type: 'object',
          required: ['userId', 'status'],
          properties: {
            userId: { type: 'string' },
            status: { type: 'string' },
            position: { type: 'string' },
            replaced: { type: 'string' },
            code: { type: 'string' },
          },
        },
      },
      code: { type: 'string' },
      message: { type: 'string' },
    },
  },
}

/** What became of one reply. */
export type ReplyOutcome = PushAnswer | { readonly code: string, readonly message: string }

/**
 * Resolves once each is stored, or is known to be one that never will be; those to one user go in order.
 *
 * @throws GatewayError `forbidden` and `throttled`, where nothing of it is sent; `ledger-unavailable` where one can't
 *   be stored just now, and the others may be: all may be sent again, for their ids are the same
 */
export async function sendRepliesOfAck (
  request: FastifyRequest, group: string, replies: readonly object[], cursors: readonly string[],
  { push, frameBytesMax }: Pick<DownlinksOptions, 'push' | 'frameBytesMax'>
): Promise<ReplyOutcome[]> {
  requireScope(request, 'push')
  const streams = new Set(cursors.flatMap(cursor => parseAckCursor(cursor)?.stream ?? []))
  const trace = traceOf(request)
  const commands = repliesOfAck(replies, streams, { app: request.app, group }, frameBytesMax)
    .map(each => each instanceof GatewayError ? each : { ...each, ...trace })
  takeRecipients(request, commands.flatMap(each => each instanceof GatewayError ? [] : each.userIds).length)
  const outcomes = new Array<ReplyOutcome>(commands.length)
  let failure: unknown
  const turns = new Turns<{ readonly command: DownlinkCommand, readonly place: number }>(async items => {
    for (const { command, place } of items) {
      if (failure) return
      try {
        outcomes[place] = await sent(command, push)
      } catch (err) {
        failure = err
      }
    }
  })
  await Promise.all(commands.map(async (each, place) => {
    if (each instanceof GatewayError) outcomes[place] = { code: each.code, message: each.message }
    else await turns.take(each.userIds, { command: each, place })
  }))
  if (failure) throw failure
  return outcomes
}

/** @throws GatewayError where it is not stored and may be another time */
async function sent (command: DownlinkCommand, push: DownlinksOptions['push']): Promise<ReplyOutcome> {
  try {
    const answer = await push(command, false)
    const failed = answer.users.find(({ status, code }) => status === 'rejected' && code !== 'payload-too-large')
    if (failed) throw new GatewayError('ledger-unavailable', `a reply is not stored: ${failed.code}`)
    return answer
  } catch (err) {
    if (!(err instanceof GatewayError && err.code === 'payload-too-large')) throw err
    return { code: err.code, message: err.message }
  }
}
