import type { Command } from 'commander'
import type { ComparisonReport } from '../evidence/replay/comparison.js'
import { findFold } from '../evidence/replay/foreign-fold.js'
import { comparePublished } from '../evidence/replay/published.js'
import type { PublishedReport } from '../evidence/replay/published-match.js'
import { parsePolicy } from '../evidence/replay/policy-words.js'
import { type Policy, type PolicyReport, tryPolicy } from '../evidence/replay/policy.js'
import { blocksOf, type ReplayOptions } from '../evidence/replay/range.js'
import { compareFolds } from '../evidence/replay/sandbox.js'
import { ledger } from '../schemas/streams.js'
import { CommandFailed } from './failure.js'
import { addLogOptions, type LogOptions, openLogReader } from './log.js'
import { addProgressOption, startProgress } from './progress.js'
import { addRangeOptions, type RangeOptions, rangesOf } from './range.js'
import { describeComparison, describePolicy, describePublished } from './replay-text.js'
import { appOption, type AppOptions, keyOf, parseUserId } from './user-id.js'
import { print, printJson } from './print.js'

interface ReplayCommandOptions extends LogOptions, RangeOptions, AppOptions {
  readonly user?: string
  readonly fold?: string
  readonly policy?: string[]
  readonly json?: boolean
  readonly progress: boolean
}

export function addReplay (program: Command): void {
  const command = program.command('replay')
    .description('fold a range of the ledger again, without reaching any client, and tell what differs')
    .option('--user <id>', 'only the entries of this user', parseUserId)
    .addOption(appOption())
    .option('--fold <path>', 'compare with the fold of another build: its directory, or its fold.js')
    .option('--policy <rules...>', 'try other rules: loginPolicy=user, ttlMs=60000, frameRate=10, frameBurst=20')
    .option('--json', 'print the report as JSON')
  addLogOptions(addProgressOption(addRangeOptions(command))).action(replay)
}

async function replay (options: ReplayCommandOptions): Promise<void> {
  const { user, fold, json } = options
  const userId = user === undefined ? undefined : keyOf(options, user)
  const policy = policyOf(options)
  if (fold !== undefined) await checkFold(fold)
  const log = await openLogReader(options)
  try {
    const ranges = await rangesOf(log, ledger, userId === undefined ? options : { ...options, user: userId })
    const total = await blocksOf(log, ranges)
    const progress = startProgress({ label: 'replay', total, unit: 'blocks', progress: options.progress })
    const replaying: ReplayOptions = { userId, read: blocks => { progress.add(blocks) } }
    let found: Found
    try {
      if (policy) found = { report: await tryPolicy(log, ranges, policy, replaying), type: 'policy' }
      else if (fold !== undefined) found = { report: await compareFolds(log, ranges, fold, replaying), type: 'fold' }
      else found = { report: await comparePublished(log, ranges, replaying), type: 'published' }
    } finally {
      progress.end()
    }
    if (json) printJson(found.report)
    else print(found, false, describe)
    if (differs(found)) process.exitCode = 1
  } finally {
    await log.close()
  }
}

type Found =
  | { readonly type: 'policy', readonly report: PolicyReport }
  | { readonly type: 'fold', readonly report: ComparisonReport }
  | { readonly type: 'published', readonly report: PublishedReport }

function describe ({ type, report }: Found): string {
  switch (type) {
    case 'policy': return describePolicy(report)
    case 'fold': return describeComparison(report)
    case 'published': return describePublished(report)
  }
}

/** Other rules are tried to see what they change: that they do is no failure. */
function differs ({ type, report }: Found): boolean {
  switch (type) {
    case 'policy': return false
    case 'fold': return report.differingEntries > 0
    case 'published': return report.missing + report.different + report.unexplained > 0
  }
}

function policyOf ({ policy, fold }: ReplayCommandOptions): Policy | undefined {
  if (policy === undefined) return undefined
  if (fold !== undefined) throw new CommandFailed('want --fold or --policy, not both', { exitCode: 2 })
  try {
    return parsePolicy(policy)
  } catch (cause) {
    throw new CommandFailed(`--policy: ${(cause as RangeError).message}`, { exitCode: 2, cause })
  }
}

async function checkFold (path: string): Promise<void> {
  try {
    await findFold(path)
  } catch (cause) {
    throw new CommandFailed(`--fold: ${(cause as Error).message}`, { exitCode: 2, cause })
  }
}
