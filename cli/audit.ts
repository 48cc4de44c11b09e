import type { Command } from 'commander'
import { audit as auditLog, type AuditRange, type Books, type Violation } from '../evidence/audit.js'
import { blocksToAudit } from '../evidence/audit/ranges.js'
import { settings } from '../gateway/config.js'
import { readEnvironment } from '../gateway/environment.js'
import { readSetting } from '../gateway/setting.js'
import type { LogReader } from '../ledger/log.js'
import { ledger, rooms, type Stream } from '../schemas/streams.js'
import { describeBooks } from './audit-table.js'
import { CommandFailed } from './failure.js'
import { addLogOptions, type LogOptions, openLogReader } from './log.js'
import { addProgressOption, startProgress } from './progress.js'
import { addRangeOptions, type RangeOptions, rangesOf } from './range.js'
import { print, printJson } from './print.js'

interface AuditOptions extends LogOptions, RangeOptions {
  readonly json?: boolean
  readonly progress: boolean
}

/** Violations that are told for people; the others are counted. */
const toldMax = 100

export function addAudit (program: Command): void {
  const command = program.command('audit')
    .description('check the ledger: do all numbers balance? Lists violations; exit code 1 if there are any')
    .option('--json', 'print violations as NDJSON, and the books as the last line')
  addLogOptions(addProgressOption(addRangeOptions(command))).action(audit)
}

async function audit (options: AuditOptions): Promise<void> {
  const log = await openLogReader(options)
  try {
    const ranges = await rangesToAudit(log, ledger, options)
    const roomRanges = await roomsToAudit(log, options)
    const progress = startProgress({
      label: 'audit', total: await blocksToAudit(log, ledger, ranges) + await blocksToAudit(log, rooms, roomRanges), unit: 'blocks', progress: options.progress,
    })
    const told: Violation[] = []
    const violation = (violation: Violation): void => {
      if (options.json) printJson(violation)
      else if (told.length < toldMax) told.push(violation)
    }
    let books: Books
    try {
      const blocks = (count: number): void => { progress.add(count) }
      books = await auditLog(log, { ranges, roomRanges, exact: isEmbedded(options), violation, blocks })
    } finally {
      progress.end()
    }
    if (options.json) printJson({ books })
    else print({ books, told }, false, ({ books, told }) => describeBooks(books, told))
    const violations = Object.values(books.violations).reduce((sum, count) => sum + count, 0)
    if (violations > 0) throw new CommandFailed(`${violations} violations`)
  } finally {
    await log.close()
  }
}

async function rangesToAudit (log: LogReader, stream: Stream<any>, options: AuditOptions): Promise<AuditRange[]> {
  const ranges = await rangesOf(log, stream, options)
  // Without an end it goes as far as the ledger does by then: so a derived stream is judged to its end, too.
  return options.until === undefined ? ranges.map(({ partition, from }) => ({ partition, from })) : ranges
}

/**
 * Of all partitions, also of those where nothing is judged: what uplinks posted is judged by what stands in all. None
 * where one partition of the ledger is named: rooms are dealt out otherwise than users.
 */
async function roomsToAudit (log: LogReader, options: AuditOptions): Promise<AuditRange[]> {
  const { partition, since, until } = options
  if (partition !== undefined || [since, until].some(place => place?.includes('@'))) return []
  const ranges = new Map((await rangesToAudit(log, rooms, options)).map(range => [range.partition, range]))
  return await Promise.all(Array.from({ length: log.partitions(rooms) }, async (_, partition) =>
    ranges.get(partition) ?? { partition, from: (await log.bounds(rooms, partition)).next }))
}

/** Only there no record of a derived stream may stand twice. A gateway that is named may be a node of a cluster. */
function isEmbedded ({ url }: AuditOptions): boolean {
  const env = readEnvironment()
  return url === undefined && !env['LEDGERLINE_URL'] && readSetting(settings.kafkaBrokers, env)!.length === 0
}
