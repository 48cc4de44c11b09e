import { open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Hole, LogReader } from '../../ledger/log.js'
import { historyOf, type HistoryFilter, type HistoryRange } from '../history.js'
import { commitState, draftName, openDirectory, type DirectoryState, type Draft } from './directory-state.js'
import type { HistoryEncoder } from './encoder.js'
import { historyEncoder, type HistoryFormat } from './formats.js'
import type { HistoryRow } from './row.js'
import type { HistoryStream } from './streams.js'

/** Rows of one piece; a few more, for no block is split. */
const pieceRowsMax = 1_000_000
/** Files of one piece; the same, and each holds a row group in memory. */
const pieceDaysMax = 8
const dayMs = 86_400_000

export interface DirectoryOptions {
  readonly directory: string
  readonly history: HistoryStream
  readonly format: HistoryFormat
  /** `untilMs` counts for nothing here: what happened before it and comes later would be left out for ever. */
  readonly filter: HistoryFilter
  /** Called with how many more blocks are read. */
  readonly onBlocks?: (count: number) => void
  /** Rows after which a piece ends. */
  readonly rowsMax?: number
}

export interface Exported {
  readonly rows: number
  readonly files: number
  /** Rows that were left out because they had come before. */
  readonly repeats: number
  /** Blocks that were not exported yet and that the log has deleted. */
  readonly blocksGone: number
}

/**
 * Exports ranges into a directory, by the day (UTC) of what a record tells of, such as the close of a connection:
 * `day=2026-11-20/part-<partition>-<offset>.<format>`, where `offset` is the first block of the piece of the stream
 * that the file was made of. A partition goes on where it was left, whatever its range begins with.
 *
 * A piece is one step: its files are written as drafts, the state that names them takes the place of the one before
 * it, and then they get their names. So after a crash anywhere a piece is there once or not at all, and a file that is
 * there does not change any more.
 *
 * @throws OtherExport
 */
export async function exportDirectory (
  log: LogReader, ranges: readonly HistoryRange[], options: DirectoryOptions
): Promise<Exported> {
  const { directory, history, format, filter: { app, userId, sinceMs }, onBlocks, rowsMax = pieceRowsMax } = options
  let state = await openDirectory(directory, {
    stream: history.stream.name,
    format,
    ...app === undefined ? {} : { app },
    ...userId === undefined ? {} : { userId },
    ...sinceMs === undefined ? {} : { sinceMs },
  })
  const { sinceMs: sinceFirst } = state
  const exported = { rows: 0, files: 0, repeats: 0, blocksGone: 0 }

  for (const { partition, from: wantedFrom, to } of ranges) {
    const from = await startOf(log, history, state, partition, wantedFrom, exported)
    if (from >= to) continue
    let piece = new Piece(directory, history, format, partition, from)
    const commit = async (next: bigint) => {
      const drafts = await piece.end()
      state = {
        ...state, next: { ...state.next, [partition]: `${next}` }, rows: state.rows + piece.rows, drafts,
      }
      await commitState(directory, state)
      exported.rows += piece.rows
      exported.files += drafts.length
      piece = new Piece(directory, history, format, partition, next)
    }
    try {
      const passed = (hole: Hole) => { exported.blocksGone += Number(hole.to - hole.from) }
      const filter = { app, userId, sinceMs: sinceFirst }
      for await (const block of historyOf(log, history, { partition, from, to }, filter, { passed })) {
        await piece.add(block.rows)
        exported.repeats += block.repeats
        onBlocks?.(1)
        if (piece.rows >= rowsMax || piece.days > pieceDaysMax) await commit(block.offset + 1n)
      }
      await commit(to)
    } finally {
      await piece.close()
    }
  }
  return exported
}

/** Where a partition goes on. What the log has deleted in between is added to `exported`. */
async function startOf (
  log: LogReader, { stream }: HistoryStream, state: DirectoryState, partition: number, from: bigint,
  exported: { blocksGone: number }
): Promise<bigint> {
  const next = state.next[partition]
  if (next === undefined) return from
  const { first } = await log.bounds(stream, partition)
  const left = BigInt(next)
  if (left >= first) return left
  exported.blocksGone += Number(first - left)
  return first
}

interface OpenFile extends Draft { readonly encoder: HistoryEncoder, readonly file: FileHandle }

/** The files of some blocks of one partition, one for each day, as drafts. */
class Piece {
  rows = 0
  readonly #files = new Map<number, OpenFile>()

  /** @param from its first block */
  constructor (
    readonly directory: string, readonly history: HistoryStream, readonly format: HistoryFormat,
    readonly partition: number, readonly from: bigint
  ) {}

  get days (): number { return this.#files.size }

  async add (rows: readonly HistoryRow[]): Promise<void> {
    this.rows += rows.length
    for (let start = 0, end = 0; start < rows.length; start = end) {
      const day = this.#dayOf(rows[start]!)
      for (end = start + 1; end < rows.length && this.#dayOf(rows[end]!) === day;) end++
      const { encoder, file } = this.#files.get(day) ?? await this.#open(day)
      const bytes = encoder.add(start === 0 && end === rows.length ? rows : rows.slice(start, end))
      if (bytes.length > 0) await file.write(bytes)
    }
  }

  /** @returns its files, which are durable then */
  async end (): Promise<Draft[]> {
    const drafts: Draft[] = []
    for (const { encoder, file, draft, path } of this.#files.values()) {
      await file.write(encoder.end())
      await file.sync()
      drafts.push({ draft, path })
    }
    await this.close()
    return drafts
  }

  async close (): Promise<void> {
    for (const { file } of this.#files.values()) await file.close()
    this.#files.clear()
  }

  async #open (day: number): Promise<OpenFile> {
    const date = new Date(day * dayMs).toISOString().slice(0, 10)
    const name = `part-${this.partition}-${this.from}.${this.format}`
    const draft = draftName(date, name)
    const encoder = await historyEncoder(this.format, this.history)
    const file = await open(join(this.directory, draft), 'w')
    const opened = { encoder, file, draft, path: join(`day=${date}`, name) }
    this.#files.set(day, opened)
    return opened
  }

  #dayOf (row: HistoryRow): number {
    return Math.floor(this.history.atMs(row) / dayMs)
  }
}
