import type { Command } from 'commander'
import { formatMoment, type Moment } from '../evidence/moment.js'
import { type Change, changesBetween } from '../evidence/state-changes.js'
import { type KeptView, type SessionView, stateAt, type StateView } from '../evidence/state.js'
import type { LogReader } from '../ledger/log.js'
import { shownUser, userInWords } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import { CommandFailed } from './failure.js'
import { addLogOptions, type LogOptions, openLogReader } from './log.js'
import { momentOption, timeText } from './moment.js'
import { print, printJson } from './print.js'
import { shownRoomState } from './room-state.js'
import { type AnyView, asOfText, knownText, type Shown } from './shown.js'
import { appOption, type AppOptions, keyOf, parseRoomId, parseUserId } from './user-id.js'

interface StateOptions extends LogOptions, AppOptions {
  readonly room?: string
  readonly at?: string
  readonly diff?: string[]
  readonly json?: boolean
}

export function addState (program: Command): void {
  const command = program.command('state')
    .description('show what the gateway knew of USER or of a room at a moment, by the fold that ran in production')
    .usage('[user] [options]') // --diff takes all that follows
    .argument('[user]', 'user id', parseUserId)
    .option('--room <id>', 'a room, instead of a user', parseRoomId)
    .option('--at <moment>', 'a time (2h ago, 2026-11-20T10:00) or a position (3@1021.4); default now')
    .option('--diff <moments...>', 'two moments: what changed from the first to the second')
    .addOption(appOption())
    .option('--json', 'print JSON')
  addLogOptions(command).action(state)
}

async function state (user: string | undefined, options: StateOptions): Promise<void> {
  const { at, diff, room } = options
  if ((user === undefined) === (room === undefined)) {
    throw new CommandFailed('want a user, or --room ROOM', { exitCode: 2 })
  }
  if (diff && (diff.length !== 2 || at !== undefined)) {
    const got = `${diff.length} moment${diff.length === 1 ? '' : 's'}${at === undefined ? '' : ' and --at'}`
    throw new CommandFailed(`--diff: got ${got}, want two moments`, { exitCode: 2 })
  }
  if (room === undefined) await show(shownState(keyOf(options, user!)), options)
  else await show(shownRoomState(keyOf(options, room)), options)
}

async function show<V extends AnyView> (shown: Shown<V>, options: StateOptions): Promise<void> {
  const { at, diff, json } = options
  const option = diff ? '--diff' : '--at'
  const moments = (diff ?? (at === undefined ? [] : [at])).map(text => momentOption(option, text))
  const log = await openLogReader(options)
  try {
    if (!diff) {
      const view = await viewAt(shown, log, moments[0], option)
      print(view, json, view => shown.describe(view, moments[0]))
      if (view.asOf === null) await checkKnown(shown, log)
      return
    }
    const from = await viewAt(shown, log, moments[0], option)
    const to = await viewAt(shown, log, moments[1], option)
    if (from.asOf === null && to.asOf === null) await checkKnown(shown, log)
    const changes = shown.changes(from, to)
    const answer = { ...shown.named, from: from.asOf, to: to.asOf, knownSince: to.knownSince, changes }
    if (json) printJson(answer)
    else print(changes, false, changes => describeChanges(shown.nameOf(to), from, to, changes))
  } finally {
    await log.close()
  }
}

/** Of an earlier moment than its first entry nothing is known of anybody; of this one there may be nothing at all. */
async function checkKnown<V extends AnyView> (shown: Shown<V>, log: LogReader): Promise<void> {
  const { asOf, knownSince } = await shown.at(log)
  if (asOf === null) throw new CommandFailed(shown.unknown(knownSince !== null))
}

async function viewAt<V extends AnyView> (
  shown: Shown<V>, log: LogReader, moment: Moment | undefined, option: string
): Promise<V> {
  try {
    return await shown.at(log, moment)
  } catch (err) {
    if (!(err instanceof GatewayError) || !moment) throw err
    const exitCode = err.code === 'bad-request' ? 2 : 1
    throw new CommandFailed(err.message.replace(/^at:/, `${option}:`), { exitCode, cause: err })
  }
}

function shownState (userId: string): Shown<StateView> {
  return {
    named: shownUser(userId),
    at: (log, moment) => stateAt(log, userId, moment),
    describe,
    changes: changesBetween,
    unknown: isCut => `no entry of the ledger${isCut ? ' that is kept' : ''} is of a user ${userInWords(userId)}`,
    nameOf: ({ userId }) => userId,
  }
}

function describe (view: StateView, moment: Moment | undefined): string {
  const { userId, userSeq, sessions, connections, waiting, memberships } = view
  return [
    `${userId} ${moment === undefined ? 'now' : `at ${formatMoment(moment)}`}, ${asOfText(view)}`,
    ...knownText(view),
    `uplinks accepted: ${userSeq}`,
    ...sessions.flatMap(describeSession),
    ...connections.length > 0 ? ['', 'connections open:'] : [],
    ...connections.map(({ connectionId, nodeId, deviceId }) => `  ${connectionId} of ${deviceId} on ${nodeId}`),
    ...waiting.length > 0 ? ['', `waiting for a first session: ${waiting.length}`] : [],
    ...waiting.map(kept => `  ${describeKept(kept)}`),
    ...memberships.length > 0 ? ['', 'rooms that business has the user in:'] : [],
    ...memberships.map(({ roomId, rights, grantedAtMs }) => `  ${roomId} (${rights}), since ${timeText(grantedAtMs)}`),
    '',
  ].join('\n')
}

function describeSession (session: SessionView): string[] {
  const { deviceId, platform, sessionId, connectionId, nodeId, touchedAtMs } = session
  const { uplinkSeq, nextSeq, ackedSeq, missed, outbox } = session
  const where = connectionId === '' ? 'offline' : `on connection ${connectionId}, node ${nodeId},`
  return [
    '',
    `${deviceId} (${platform}), session ${sessionId}`,
    `  ${where} since ${timeText(touchedAtMs)}`,
    `  uplinks up to ${uplinkSeq}; downlinks up to ${nextSeq - 1}, acked up to ${ackedSeq}, missed ${missed}`,
    `  outbox: ${outbox.length}`,
    ...outbox.map(queued => `    ${queued.seq === 0 ? '-' : `#${queued.seq}`}  ${describeKept(queued)}`),
  ]
}

function describeKept ({ messageId, service, payloadBytes, requestedAtMs, expiresAtMs }: KeptView): string {
  const from = service === '' ? '' : ` of ${service}`
  return `${messageId}${from}, ${payloadBytes} bytes, ` +
    `requested ${timeText(requestedAtMs)}, expires ${timeText(expiresAtMs)}`
}

const signs = { added: '+', removed: '-', changed: '~' } as const

function describeChanges (name: string, from: AnyView, to: AnyView, changes: readonly Change[]): string {
  const lines = changes.map(({ type, path, before, after }) => {
    const value = JSON.stringify(after ?? before)
    return `${signs[type]} ${path.join('.')}  ${type === 'changed' ? `${JSON.stringify(before)} -> ${value}` : value}`
  })
  return [
    `${name} from ${asOfText(from).replace(/^as of /, '')} to ${asOfText(to).replace(/^as of /, '')}`,
    ...knownText(to),
    ...lines.length > 0 ? lines : ['nothing changed'],
    '',
  ].join('\n')
}
