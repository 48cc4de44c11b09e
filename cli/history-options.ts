import { statSync } from 'node:fs'
import { extname } from 'node:path'
import { type Command, Option } from 'commander'
import { binaryFormats, historyFormats, type HistoryFormat } from '../evidence/history/formats.js'
import { connectionHistory, historyStreams, type HistoryStream } from '../evidence/history/streams.js'
import { earlyMs, type HistoryFilter, type HistoryRange } from '../evidence/history.js'
import { parseTime } from '../evidence/moment.js'
import type { LogReader } from '../ledger/log.js'
import { isErrorCode } from '../schemas/errors.js'
import { CommandFailed } from './failure.js'
import { addLogOptions, type LogOptions } from './log.js'
import { pastTimeOption } from './moment.js'
import { addProgressOption } from './progress.js'
import { addRangeOptions, type RangeOptions, rangesOf } from './range.js'
import { appOption, type AppOptions, keyOf, parseUserId } from './user-id.js'

export interface HistoryOptions extends LogOptions, RangeOptions, AppOptions {
  readonly stream: string
  readonly user?: string
  readonly code?: string
  readonly format?: HistoryFormat
  readonly out?: string
  readonly json?: boolean
  readonly progress: boolean
}

export function addHistoryOptions (command: Command): Command {
  command
    .addOption(new Option('--stream <name>', 'which stream').choices(Object.keys(historyStreams))
      .default(connectionHistory.stream.name))
    .option('--user <id>', 'only rows of this user', parseUserId)
    .addOption(appOption('of the users of this app alone, one of LEDGERLINE_APPS; with --user by default that of no name'))
    .option('--code <code>', 'only connections or receipts that ended with this code, such as slow-consumer; not into a directory')
    .addOption(new Option('--format <name>', 'default: by the name of FILE; parquet into a directory').choices(historyFormats))
    .option('--out <file|dir>', 'write a file; or files by day into a directory, which exists or has a name that ends with /')
    .option('--json', 'print NDJSON, or with --out the summary as JSON')
  return addLogOptions(addProgressOption(addRangeOptions(command)))
}

/**
 * What is asked for, and as what: no format is prose.
 *
 * @throws CommandFailed with exit code 2 where options do not go together
 */
export function shapeOf (
  options: HistoryOptions
): { readonly history: HistoryStream, readonly format: HistoryFormat | undefined } {
  const { out, code, stream, format = formatOf(options) } = options
  const history = historyStreams[stream]!
  if (code !== undefined) checkCode(code, history)
  if (code !== undefined && out !== undefined && isDirectory(out)) {
    throw wrong('--code: a directory is of all codes, want --out FILE')
  }
  if (out === undefined && format !== undefined && binaryFormats.includes(format) && process.stdout.isTTY) {
    throw wrong(`--format ${format}: it is not for a terminal, want --out FILE or a pipe`)
  }
  return { history, format }
}

function checkCode (code: string, { stream, codeOf, codes = [] }: HistoryStream): void {
  if (codeOf === undefined) {
    const others = Object.values(historyStreams).filter(history => history.codeOf).map(({ stream }) => stream.name)
    throw wrong(`--code: nothing in ${stream.name} ends with one, want --stream ${others.join(' or ')}`)
  }
  if (isErrorCode(code) || codes.includes(code)) return
  const more = codes.map(code => `${code} or `).join('')
  throw wrong(`--code: got ${JSON.stringify(code)}, want ${more}a code of docs/errors.md`)
}

/** @returns undefined for prose */
function formatOf ({ out, json }: HistoryOptions): HistoryFormat | undefined {
  if (out === undefined) return json ? 'ndjson' : undefined
  if (isDirectory(out)) return 'parquet'
  const format = historyFormats.find(name => extname(out) === `.${name}`)
  if (format) return format
  const names = historyFormats.map(name => `.${name}`).join(', ')
  throw wrong(
    `--out: got ${JSON.stringify(out)}, want --format with it, a name that ends with ${names}, or a directory (DIR/)`)
}

export function isDirectory (out: string): boolean {
  return out.endsWith('/') || (statSync(out, { throwIfNoEntry: false })?.isDirectory() ?? false)
}

/** Times say when what a row tells of happened; any other end of the range is a place in the stream. */
export function filterOf (options: HistoryOptions, nowMs: number): HistoryFilter {
  const { app, user, code, since, until } = options
  return {
    app,
    userId: user === undefined ? undefined : keyOf(options, user),
    code,
    sinceMs: since === undefined ? undefined : pastTimeOption('--since', since, nowMs),
    untilMs: until === undefined ? undefined : parseTime(until, nowMs),
  }
}

/** @param lateMs how long after `--until` a row may come into the stream */
export async function rangesFor (
  log: LogReader, { stream }: HistoryStream, { since, until, partition }: HistoryOptions,
  { userId: user, sinceMs, untilMs }: HistoryFilter, lateMs: number
): Promise<readonly HistoryRange[]> {
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs >= untilMs) {
    throw wrong(`--since ${since} is not before --until ${until}`)
  }
  const from = sinceMs === undefined ? since : new Date(sinceMs - earlyMs).toISOString()
  const to = untilMs === undefined ? until : new Date(untilMs + lateMs).toISOString()
  const range: RangeOptions = {
    ...from === undefined ? {} : { since: from },
    ...to === undefined ? {} : { until: to },
    ...partition === undefined ? {} : { partition },
    ...user === undefined ? {} : { user },
  }
  return await rangesOf(log, stream, range)
}

function wrong (message: string): CommandFailed { return new CommandFailed(message, { exitCode: 2 }) }
