import { once } from 'node:events'
import { statSync } from 'node:fs'
import { type FileHandle, open, rename } from 'node:fs/promises'
import { extname } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { exportDirectory, type Exported } from '../evidence/history/directory.js'
import { OtherExport } from '../evidence/history/directory-state.js'
import type { HistoryEncoder } from '../evidence/history/encoder.js'
import { binaryFormats, historyEncoder, historyFormats, type HistoryFormat } from '../evidence/history/formats.js'
import { prose } from '../evidence/history/text.js'
import { earlyMs, historyOf, lateMs, type HistoryFilter, type HistoryRange } from '../evidence/history.js'
import { parseTime } from '../evidence/moment.js'
import type { Hole, LogReader } from '../ledger/log.js'
import { isErrorCode } from '../schemas/errors.js'
import { connections } from '../schemas/streams.js'
import { CommandFailed } from './failure.js'
import { pastTimeOption } from './moment.js'
import { addLogOptions, openLogReader, type LogOptions } from './log.js'
import { addProgressOption, startProgress, type Progress } from './progress.js'
import { addRangeOptions, rangesOf, type RangeOptions } from './range.js'
import { appOption, type AppOptions, keyOf, parseUserId } from './user-id.js'
import { complain, print } from './print.js'

interface HistoryOptions extends LogOptions, RangeOptions, AppOptions {
  readonly user?: string
  readonly code?: string
  readonly format?: HistoryFormat
  readonly out?: string
  readonly json?: boolean
  readonly progress: boolean
}

export function addHistory (program: Command): void {
  const command = program.command('history')
    .description('print or export the connections that ended, with the whole story of each')
    .option('--user <id>', 'of this user alone', parseUserId)
    .addOption(appOption('of the users of this app alone, one of LEDGERLINE_APPS; with --user by default that of no name'))
    .option('--code <code>', 'that ended with this code alone, such as slow-consumer; not into a directory', parseCode)
    .addOption(new Option('--format <name>', 'default: by the name of FILE; parquet into a directory').choices(historyFormats))
    .option('--out <file|dir>', 'into a file, or by day into a directory: one that is there, or a name that ends with /')
    .option('--json', 'print NDJSON, or with --out the summary as JSON')
  addLogOptions(addProgressOption(addRangeOptions(command))).action(history)
}

async function history (options: HistoryOptions): Promise<void> {
  const { out, json, code, format = formatOf(options) } = options
  if (code !== undefined && out !== undefined && isDirectory(out)) {
    throw new CommandFailed('--code: a directory is of all codes, want --out FILE', { exitCode: 2 })
  }
  if (out === undefined && format !== undefined && binaryFormats.includes(format) && process.stdout.isTTY) {
    throw new CommandFailed(`--format ${format}: it is not for a terminal, want --out FILE or a pipe`, { exitCode: 2 })
  }
  const nowMs = Date.now()
  const log = await openLogReader(options)
  try {
    if (out === undefined) {
      await write(log, options, nowMs, format === undefined ? prose() : await historyEncoder(format), writeOut)
    } else {
      const exported = isDirectory(out)
        ? await writeDirectory(log, options, nowMs, out, format!)
        : await writeFile(log, options, nowMs, out, format!)
      print({ out, format, ...exported }, json, describe)
    }
  } finally {
    await log.close()
  }
}

function parseCode (text: string): string {
  if (isErrorCode(text)) return text
  throw new InvalidArgumentError(`got ${JSON.stringify(text)}, want a code of docs/errors.md`)
}

/** @returns undefined for prose */
function formatOf ({ out, json }: HistoryOptions): HistoryFormat | undefined {
  if (out === undefined) return json ? 'ndjson' : undefined
  if (isDirectory(out)) return 'parquet'
  const format = historyFormats.find(name => extname(out) === `.${name}`)
  if (format) return format
  const names = historyFormats.map(name => `.${name}`).join(', ')
  throw new CommandFailed(
    `--out: got ${JSON.stringify(out)}, want --format with it, a name that ends with ${names}, or a directory (DIR/)`,
    { exitCode: 2 })
}

function isDirectory (out: string): boolean {
  return out.endsWith('/') || (statSync(out, { throwIfNoEntry: false })?.isDirectory() ?? false)
}

async function writeFile (
  log: LogReader, options: HistoryOptions, nowMs: number, out: string, format: HistoryFormat
): Promise<Partial<Exported>> {
  // Under another name until it is whole: nobody may take half of it for all.
  const draft = `${out}.draft`
  const file = await openDraft(draft)
  try {
    const encoder = await historyEncoder(format)
    const exported = await write(log, options, nowMs, encoder, async bytes => { await file.write(bytes) })
    await file.sync()
    await rename(draft, out)
    return { ...exported, files: 1 }
  } finally {
    await file.close()
  }
}

async function openDraft (path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w')
  } catch (cause) {
    throw new CommandFailed(`--out: ${(cause as Error).message}`, { exitCode: 2, cause })
  }
}

async function writeOut (bytes: Uint8Array): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain')
}

async function write (
  log: LogReader, options: HistoryOptions, nowMs: number, encoder: HistoryEncoder,
  to: (bytes: Uint8Array) => Promise<void>
): Promise<Pick<Exported, 'rows' | 'repeats'>> {
  const filter = filterOf(options, nowMs)
  const ranges = await rangesFor(log, options, filter, lateMs)
  const progress = progressOf(ranges, options)
  let rows = 0
  let repeats = 0
  for (const range of ranges) {
    for await (const block of historyOf(log, range, filter, { passed: hole => { tellOfHole(range, hole) } })) {
      const bytes = encoder.add(block.rows)
      if (bytes.length > 0) await to(bytes)
      rows += block.rows.length
      repeats += block.repeats
      progress.add(1)
    }
  }
  await to(encoder.end())
  progress.end()
  return { rows, repeats }
}

/** On stderr, for no row of a table can say so. */
function tellOfHole ({ partition }: HistoryRange, { from, to }: Hole): void {
  const where = `${partition}@${from} to ${partition}@${to - 1n}`
  complain(`the rows in connections ${where} are missing: retention deleted them while the others were being read`)
}

async function writeDirectory (
  log: LogReader, options: HistoryOptions, nowMs: number, directory: string, format: HistoryFormat
): Promise<Exported> {
  const filter = filterOf(options, nowMs)
  // What comes late is for the next run.
  const ranges = await rangesFor(log, options, filter, 0)
  const progress = progressOf(ranges, options)
  try {
    return await exportDirectory(log, ranges, { directory, format, filter, onBlocks: count => progress.add(count) })
  } catch (err) {
    if (err instanceof OtherExport) throw new CommandFailed(`--out: ${err.message}`, { exitCode: 2, cause: err })
    throw err
  } finally {
    progress.end()
  }
}

/** Times say when a connection closed; any other end of the range is a place in the stream. */
function filterOf (options: HistoryOptions, nowMs: number): HistoryFilter {
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
async function rangesFor (
  log: LogReader, { since, until, partition }: HistoryOptions, { userId: user, sinceMs, untilMs }: HistoryFilter,
  lateMs: number
): Promise<readonly HistoryRange[]> {
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs >= untilMs) {
    throw new CommandFailed(`--since ${since} is not before --until ${until}`, { exitCode: 2 })
  }
  const from = sinceMs === undefined ? since : new Date(sinceMs - earlyMs).toISOString()
  const to = untilMs === undefined ? until : new Date(untilMs + lateMs).toISOString()
  const range: RangeOptions = {
    ...from === undefined ? {} : { since: from },
    ...to === undefined ? {} : { until: to },
    ...partition === undefined ? {} : { partition },
    ...user === undefined ? {} : { user },
  }
  return await rangesOf(log, connections, range)
}

function progressOf (ranges: readonly HistoryRange[], { progress, out }: HistoryOptions): Progress {
  const total = ranges.reduce((sum, { from, to }) => sum + Number(to - from), 0)
  // What goes to a terminal is its own progress.
  const shown = progress && (out !== undefined || !process.stdout.isTTY)
  return startProgress({ label: 'history', total, unit: 'blocks', progress: shown })
}

function describe (exported: Partial<Exported> & { out: string }): string {
  const { out, rows = 0, files = 0, repeats = 0, blocksGone = 0 } = exported
  const count = (n: number, unit: string) => `${n.toLocaleString('en-US')} ${unit}${n === 1 ? '' : 's'}`
  const lines = [`${count(rows, 'connection')} in ${count(files, 'new file')}: ${out}`]
  if (repeats > 0) lines.push(`${count(repeats, 'repeat')} left out.`)
  if (blocksGone > 0) lines.push(`${count(blocksGone, 'block')} that were not exported yet are gone: they were older than the log keeps.`)
  return `${lines.join('\n')}\n`
}
