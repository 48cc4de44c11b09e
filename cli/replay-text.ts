import type { ComparisonReport } from '../evidence/replay/comparison.js'
import type { Counted, PolicyReport } from '../evidence/replay/policy.js'
import type { PublishedReport } from '../evidence/replay/published-match.js'
import { timeText } from './moment.js'

export function describeComparison (report: ComparisonReport): string {
  const { entries, users, differingEntries, differingUsers, failedUsers, byKind, differences } = report
  const compared = `${number(entries)} entries of ${number(users)} users`
  if (differingEntries === 0) return `${compared}: both folds answer the same\n`
  return [
    `${compared}: ${number(differingEntries)} entries of ${number(differingUsers)} users are answered differently`,
    ...Object.entries(byKind).map(([kind, count]) => `  ${number(count).padStart(9)}  ${kind}`),
    ...failedUsers > 0 ? [`${number(failedUsers)} users could not be followed to the end: a fold failed`] : [],
    `downlinks that the other fold alone sends: ${number(report.deliveredOnlyByOther)}, production alone: ` +
      number(report.deliveredOnlyByProduction),
    ...differences.flatMap(({ position, atMs, app, userId, fact, kinds, production, other }) => [
      '',
      `${position}  ${timeText(atMs)}  ${user(app, userId)}  ${fact}: ${kinds.join(', ')}`,
      ...side('production', production),
      ...side('other', other),
    ]),
    ...differingUsers > differences.length ? ['', `and ${number(differingUsers - differences.length)} users more`] : [],
    '',
  ].join('\n')
}

function user (app: string | undefined, userId: string): string {
  return app === undefined ? userId : `${app}/${userId}`
}

function side (name: string, answers: readonly string[]): string[] {
  const texts = answers.length > 0 ? answers : ['nothing']
  return texts.map((text, i) => `  ${(i === 0 ? name : '').padEnd(10)}  ${text}`)
}

export function describePublished (report: PublishedReport): string {
  const { entries, users, matching, missing, different, unexplained, repeated, pending, unjudged, differences } = report
  const faults = missing + different + unexplained
  const asides = [
    [pending, 'are not published yet'],
    [repeated, 'stand in the stream once more'],
    [unjudged, 'have lost their other half to retention'],
  ] as const
  return [
    `${number(entries)} entries of ${number(users)} users: ` +
      `${number(matching)} uplinks are in the stream as the fold has them`,
    ...asides.filter(([count]) => count > 0).map(([count, what]) => `  ${number(count).padStart(9)}  ${what}`),
    ...faults === 0
      ? ['nothing differs']
      : [`${number(missing)} are missing, ${number(different)} different, ${number(unexplained)} without an entry`],
    ...differences.map(({ kind, position, published, app, userId, userSeq, text }) =>
      `  ${kind}  ${user(app, userId)} #${userSeq}  ${[position, published].filter(place => place !== '').join(' / ')}  ${text}`),
    '',
  ].join('\n')
}

export function describePolicy (report: PolicyReport): string {
  const { entries, users, affectedUsers, uplinksThrottled, connectionsRateLimited, mostAffected, kicked } = report
  return [
    `${number(entries)} entries of ${number(users)} users; ${number(affectedUsers)} users would have been affected`,
    `  connections kicked by login policy: ${recordedAndTried(report.connectionsKicked)}`,
    `  downlinks expired: ${recordedAndTried(report.downlinksExpired)}`,
    `  downlinks dropped: ${recordedAndTried(report.downlinksDropped)}`,
    `  uplinks throttled: ${number(uplinksThrottled)}`,
    `  connections closed for their rate: ${number(connectionsRateLimited)}`,
    ...mostAffected.length > 0 ? ['', 'most affected:'] : [],
    ...mostAffected.map(({ app, userId, kicked, lost, throttled }) =>
      `  ${user(app, userId)}  kicked ${signed(kicked)}, downlinks lost ${signed(lost)}, ` +
        `throttled ${signed(throttled)}`),
    ...kicked.length > 0 ? ['', 'would have been kicked:'] : [],
    ...kicked.map(({ position, atMs, app, userId, connectionId, deviceId, platform }) =>
      `  ${position}  ${timeText(atMs)}  ${user(app, userId)}  ${deviceId} (${platform}), connection ${connectionId}`),
    '',
  ].join('\n')
}

function recordedAndTried ({ recorded, policy }: Counted): string {
  return `${number(policy)}, recorded ${number(recorded)}`
}

function signed (count: number): string { return count > 0 ? `+${count}` : String(count) }

function number (value: number): string { return value.toLocaleString('en-US') }
