import { once } from 'node:events'
import { type FileHandle, open, rename } from 'node:fs/promises'
import type { Command } from 'commander'
import { exportDirectory, type Exported } from '../evidence/history/directory.js'
import { OtherExport } from '../evidence/history/directory-state.js'
import type { HistoryEncoder } from '../evidence/history/encoder.js'
import { historyEncoder, type HistoryFormat } from '../evidence/history/formats.js'
import type { HistoryStream } from '../evidence/history/streams.js'
import { prose } from '../evidence/history/text.js'
import { historyOf, lateMs, type HistoryFilter, type HistoryRange } from '../evidence/history.js'
import type { Hole, LogReader } from '../ledger/log.js'
import { CommandFailed } from './failure.js'
import { addHistoryOptions, filterOf, type HistoryOptions, isDirectory, rangesFor, shapeOf } from './history-options.js'
import { openLogReader } from './log.js'
import { startProgress, type Progress } from './progress.js'
import { complain, print } from './print.js'

/** What is read, and which of it. */
interface Source {
  readonly log: LogReader
  readonly history: HistoryStream
  readonly options: HistoryOptions
  readonly filter: HistoryFilter
}

export function addHistory (program: Command): void {
  addHistoryOptions(program.command('history')
    .description('print or export connections that ended, or the stream presence, receipts or offline')).action(history)
}

async function history (options: HistoryOptions): Promise<void> {
  const { out, json } = options
  const { history, format } = shapeOf(options)
  const nowMs = Date.now()
  const log = await openLogReader(options)
  const source = { log, history, options, filter: filterOf(options, nowMs) }
  try {
    if (out === undefined) {
      await write(source, format === undefined ? prose(history) : await historyEncoder(format, history), writeOut)
    } else {
      const exported = isDirectory(out)
        ? await writeDirectory(source, out, format!)
        : await writeFile(source, out, format!)
      print({ out, stream: history.stream.name, format, ...exported }, json, summary => describe(summary, history))
    }
  } finally {
    await log.close()
  }
}

async function writeFile (source: Source, out: string, format: HistoryFormat): Promise<Partial<Exported>> {
  // Under another name until it is whole: nobody may take half of it for all.
  const draft = `${out}.draft`
  const file = await openDraft(draft)
  try {
    const encoder = await historyEncoder(format, source.history)
    const exported = await write(source, encoder, async bytes => { await file.write(bytes) })
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
  { log, history, options, filter }: Source, encoder: HistoryEncoder, to: (bytes: Uint8Array) => Promise<void>
): Promise<Pick<Exported, 'rows' | 'repeats'>> {
  const ranges = await rangesFor(log, history, options, filter, lateMs)
  const progress = progressOf(ranges, options)
  let rows = 0
  let repeats = 0
  for (const range of ranges) {
    const passed = (hole: Hole) => { tellOfHole(history, range, hole) }
    for await (const block of historyOf(log, history, range, filter, { passed })) {
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
function tellOfHole ({ stream }: HistoryStream, { partition }: HistoryRange, { from, to }: Hole): void {
  const where = `${partition}@${from} to ${partition}@${to - 1n}`
  complain(`the rows in ${stream.name} ${where} are missing: retention deleted them while the others were being read`)
}

async function writeDirectory (
  { log, history, options, filter }: Source, directory: string, format: HistoryFormat
): Promise<Exported> {
  // What comes late is for the next run.
  const ranges = await rangesFor(log, history, options, filter, 0)
  const progress = progressOf(ranges, options)
  try {
    const onBlocks = (count: number) => { progress.add(count) }
    return await exportDirectory(log, ranges, { directory, history, format, filter, onBlocks })
  } catch (err) {
    if (err instanceof OtherExport) throw new CommandFailed(`--out: ${err.message}`, { exitCode: 2, cause: err })
    throw err
  } finally {
    progress.end()
  }
}

function progressOf (ranges: readonly HistoryRange[], { progress, out }: HistoryOptions): Progress {
  const total = ranges.reduce((sum, { from, to }) => sum + Number(to - from), 0)
  // What goes to a terminal is its own progress.
  const shown = progress && (out !== undefined || !process.stdout.isTTY)
  return startProgress({ label: 'history', total, unit: 'blocks', progress: shown })
}

function describe (exported: Partial<Exported> & { out: string }, { unit }: HistoryStream): string {
  const { out, rows = 0, files = 0, repeats = 0, blocksGone = 0 } = exported
  const count = (n: number, unit: string) => `${n.toLocaleString('en-US')} ${unit}${n === 1 ? '' : 's'}`
  const lines = [`${count(rows, unit)} in ${count(files, 'new file')}: ${out}`]
  if (repeats > 0) lines.push(`${count(repeats, 'repeat')} left out.`)
  if (blocksGone > 0) lines.push(`${count(blocksGone, 'block')} that were not exported yet are gone: they were older than the log keeps.`)
  return `${lines.join('\n')}\n`
}
