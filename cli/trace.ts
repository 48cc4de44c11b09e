import { type Command, InvalidArgumentError } from 'commander'
import { type Inquiry, inquire } from '../evidence/inquiry.js'
import { recentOf } from '../evidence/recent.js'
import { recentPostsOf } from '../evidence/rooms/recent.js'
import { type RoomTrace, tracePost } from '../evidence/rooms/trace.js'
import type { Step, Trace, TraceRange } from '../evidence/trace.js'
import type { LogReader } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import { CommandFailed } from './failure.js'
import { addLogOptions, type LogOptions, openLogReader } from './log.js'
import { momentOption } from './moment.js'
import { print } from './print.js'
import { describeRecent, describeRecentPosts } from './recent.js'
import { appOption, type AppOptions, keyOf, parseRoomId } from './user-id.js'

interface TraceOptions extends LogOptions, AppOptions {
  readonly message?: string
  readonly uplink?: string
  readonly connection?: string
  readonly room?: string
  readonly since?: string
  readonly until?: string
  readonly limit: number
  readonly json?: boolean
}

/** Of something that the ledger does not know. */
const unknown: ReadonlySet<string> = new Set([
  'unknown-user', 'never-requested', 'no-session', 'no-connection', 'not-kept', 'unknown-room', 'never-posted',
])

export function addTrace (program: Command): void {
  const command = program.command('trace')
    .description('tell what became of a message or a connection of USER, or of a post in a room; without one, list what there is to trace')
    .argument('[user]', 'user id; absent for --room ROOM')
    .option('--message <id>', 'a downlink, by its message id; without USER a post in --room, USER/USERSEQ for an uplink')
    .option('--uplink <session:seq>', 'an uplink, by its session id and seq')
    .option('--connection <id>', 'a connection: who it was, what went over it, how it ended')
    .option('--room <id>', 'the room of the post; with USER, whether business has the user in that room', parseRoomId)
    .option('--since <moment>', 'show no step before it: 2h ago, 2026-11-20T10:00, 3@1021.4')
    .option('--until <moment>', 'show what was known at that time')
    .option('--limit <n>', 'how many are listed, newest first', parseLimit, 20)
    .addOption(appOption())
    .option('--json', 'print the steps and the verdict, or the list, as JSON')
  addLogOptions(command).action(trace)
}

async function trace (user: string | undefined, options: TraceOptions): Promise<void> {
  const look = user === undefined ? roomLook(options) : userLook(user, options)
  const { since, until } = options
  const range = {
    since: since === undefined ? undefined : momentOption('--since', since),
    until: until === undefined ? undefined : momentOption('--until', until),
  }
  const log = await openLogReader(options)
  try {
    if (!await look(log, range)) process.exitCode = 1
  } catch (err) {
    const usage = err instanceof GatewayError && err.code === 'bad-request'
    throw usage ? new CommandFailed(err.message, { exitCode: 2, cause: err }) : err
  } finally {
    await log.close()
  }
}

/** Prints what it finds. @returns false where nothing is known of it */
type Look = (log: LogReader, range: TraceRange) => Promise<boolean>

function roomLook (options: TraceOptions): Look {
  const { room, message, uplink, connection, json, since, until, limit } = options
  const isRange = (since ?? until) !== undefined
  if (room === undefined || (uplink ?? connection) !== undefined || (message === undefined && isRange)) {
    throw new CommandFailed('want a user, or --room ROOM, or --room ROOM --message ID', { exitCode: 2 })
  }
  const roomKey = keyOf(options, room)
  return async (log, range) => {
    if (message === undefined) {
      const recent = await recentPostsOf(log, roomKey, limit)
      print(recent, json, recent => describeRecentPosts(recent, options))
      return !recent.isUnknown
    }
    const found = await tracePost(log, roomKey, message, range)
    print(found, json, describe)
    return !unknown.has(found.verdict.code)
  }
}

function userLook (user: string, options: TraceOptions): Look {
  const userId = keyOf(options, user)
  const inquiry = inquiryOf(options)
  return async (log, range) => {
    if (inquiry === undefined) {
      const recent = await recentOf(log, userId, options.limit)
      print(recent, options.json, recent => describeRecent(recent, options))
      return !recent.isUnknown
    }
    const found = await inquire(log, userId, inquiry, range)
    print(found, options.json, describeUsers)
    return !unknown.has(found.verdict.code)
  }
}

/** @returns undefined where nothing is named */
function inquiryOf ({ message, uplink, connection, room, since, until }: TraceOptions): Inquiry | undefined {
  const named = [message, uplink, connection, room].filter(option => option !== undefined).length
  if (named === 0 && since === undefined && until === undefined) return undefined
  const at = uplink?.lastIndexOf(':') ?? -1
  if (named === 1 && message !== undefined) return { messageId: message }
  if (named === 1 && connection !== undefined) return { connectionId: connection }
  if (named === 1 && room !== undefined) return { roomId: room }
  if (named === 1 && uplink !== undefined && at > 0 && /^[1-9]\d{0,15}$/.test(uplink.slice(at + 1))) {
    return { sessionId: uplink.slice(0, at), seq: Number(uplink.slice(at + 1)) }
  }
  throw new CommandFailed('want one of --message ID, --uplink SESSION:SEQ, --connection ID, --room ID', { exitCode: 2 })
}

function parseLimit (text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Want a number from 1 to 99999.')
}

/** Of an uplink that is a post in a room, what became of that behind it. */
function describeUsers (trace: Trace): string {
  const { post } = trace
  return post ? `${describe(trace)}\nas a post in ${post.roomId}:\n${describe(post)}` : describe(trace)
}

function describe ({ steps, verdict }: Pick<RoomTrace, 'steps' | 'verdict'>): string {
  const { code, cause, text } = verdict
  const lines = [...steps.map(describeStep), ...(steps.length > 0 ? [''] : [])]
  return [...lines, text, `(${cause === '' ? code : `${code}, ${cause}`})`, ''].join('\n')
}

function describeStep ({ position, atMs, afterMs, stage, stageMs, nodeId, connectionId, text }: Step): string {
  const where = connectionId === '' ? '' : `  ${connectionId}@${nodeId}`
  const took = stage === '' ? '' : `  [${stage.replace('-', ' to ')}: ${stageMs} ms]`
  const since = `+${afterMs} ms`.padStart(12)
  return `${new Date(atMs).toISOString()}  ${since}  ${position.padEnd(12)}  ${text}${where}${took}`
}
