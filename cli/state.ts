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
import { appOption, type AppOptions, keyOf, parseUserId } from './user-id.js'
import { print, printJson } from './print.js'

interface StateOptions extends LogOptions, AppOptions {
  readonly at?: string
  readonly diff?: string[]
  readonly json?: boolean
}

export function addState (program: Command): void {
  const command = program.command('state')
    .description('show what the gateway knew of USER at a moment, by the fold that ran in production')
    .usage('<user> [options]') // --diff takes all that follows
    .argument('<user>', 'user id', parseUserId)
    .option('--at <moment>', 'a time (2h ago, 2026-11-20T10:00) or a position (3@1021.4); default now')
    .option('--diff <moments...>', 'two moments: what changed from the first to the second')
    .addOption(appOption())
    .option('--json', 'print JSON')
  addLogOptions(command).action(state)
}

async function state (user: string, options: StateOptions): Promise<void> {
  const userId = keyOf(options, user)
  const { at, diff, json } = options
  if (diff && (diff.length !== 2 || at !== undefined)) {
    const got = `${diff.length} moment${diff.length === 1 ? '' : 's'}${at === undefined ? '' : ' and --at'}`
    throw new CommandFailed(`--diff: got ${got}, want two moments`, { exitCode: 2 })
  }
  const option = diff ? '--diff' : '--at'
  const moments = (diff ?? (at === undefined ? [] : [at])).map(text => momentOption(option, text))
  const log = await openLogReader(options)
  try {
    if (!diff) {
      const view = await viewAt(log, userId, moments[0], option)
      print(view, json, view => describe(view, moments[0]))
      if (view.asOf === null) await checkKnown(log, userId)
      return
    }
    const from = await viewAt(log, userId, moments[0], option)
    const to = await viewAt(log, userId, moments[1], option)
    if (from.asOf === null && to.asOf === null) await checkKnown(log, userId)
    const changes = changesBetween(from, to)
    const answer = { ...shownUser(userId), from: from.asOf, to: to.asOf, knownSince: to.knownSince, changes }
    if (json) printJson(answer)
    else print({ from, to, changes }, false, ({ from, to, changes }) => describeChanges(from, to, changes))
  } finally {
    await log.close()
  }
}

/** Of an earlier moment than its first entry nothing is known of any user; of this one there may be nothing at all. */
async function checkKnown (log: LogReader, userId: string): Promise<void> {
  const { asOf, knownSince } = await stateAt(log, userId)
  if (asOf === null) throw new CommandFailed(`no entry of the ledger${knownSince ? ' that is kept' : ''} is of a user ${userInWords(userId)}`)
}

async function viewAt (
  log: LogReader, userId: string, moment: Moment | undefined, option: string
): Promise<StateView> {
  try {
    return await stateAt(log, userId, moment)
  } catch (err) {
    if (!(err instanceof GatewayError) || !moment) throw err
    const exitCode = err.code === 'bad-request' ? 2 : 1
    throw new CommandFailed(err.message.replace(/^at:/, `${option}:`), { exitCode, cause: err })
  }
}

function describe (view: StateView, moment: Moment | undefined): string {
  const { userId, userSeq, sessions, connections, waiting } = view
  return [
    `${userId} ${moment === undefined ? 'now' : `at ${formatMoment(moment)}`}, ${asOfText(view)}`,
    ...knownText(view),
    `uplinks accepted: ${userSeq}`,
    ...sessions.flatMap(describeSession),
    ...connections.length > 0 ? ['', 'connections open:'] : [],
    ...connections.map(({ connectionId, nodeId, deviceId }) => `  ${connectionId} of ${deviceId} on ${nodeId}`),
    ...waiting.length > 0 ? ['', `waiting for a first session: ${waiting.length}`] : [],
    ...waiting.map(kept => `  ${describeKept(kept)}`),
    '',
  ].join('\n')
}

function asOfText ({ asOf, knownSince }: StateView): string {
  if (asOf) return `as of ${asOf.position}, ${timeText(asOf.atMs)}`
  return `before any entry of the user${knownSince ? ' that is kept' : ''}`
}

function knownText ({ knownSince }: StateView): string[] {
  if (!knownSince) return []
  const { position, atMs } = knownSince
  return [`The ledger is kept from ${position}${atMs === null ? '' : `, ${timeText(atMs)}`}: what was before is not known.`]
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

function describeChanges (from: StateView, to: StateView, changes: readonly Change[]): string {
  const lines = changes.map(({ type, path, before, after }) => {
    const value = JSON.stringify(after ?? before)
    return `${signs[type]} ${path.join('.')}  ${type === 'changed' ? `${JSON.stringify(before)} -> ${value}` : value}`
  })
  return [
    `${to.userId} from ${asOfText(from).replace(/^as of /, '')} to ${asOfText(to).replace(/^as of /, '')}`,
    ...knownText(to),
    ...lines.length > 0 ? lines : ['nothing changed'],
    '',
  ].join('\n')
}
