import type { MarkEvent } from '../evidence/timeline-marks.js'
import type { PlacedMark, Timeline } from '../evidence/timeline.js'

/** The part of time that a picture shows, ms since 1970. */
export interface Span { readonly fromMs: number, readonly toMs: number }

/** A horizontal band of the picture: one device, or the user where `deviceId` is empty. */
export interface Lane { readonly deviceId: string, readonly platform: string }

/** How a mark looks: its row within the lane, shape and colour. */
export interface Look {
  readonly row: 0 | 1 | 2 | 3
  readonly shape: 'up' | 'down' | 'circle' | 'cross' | 'diamond' | 'line'
  readonly tone: 'uplink' | 'downlink' | 'good' | 'bad' | 'plain'
}

const shortestMs = 100

/** Uplinks above the bar of the connection, downlinks below it, and how they ended below that. */
export const looks: Readonly<Record<MarkEvent, Look>> = {
  uplink: { row: 0, shape: 'up', tone: 'uplink' },
  repeated: { row: 0, shape: 'up', tone: 'plain' },
  gap: { row: 0, shape: 'cross', tone: 'bad' },
  refused: { row: 0, shape: 'cross', tone: 'bad' },
  opened: { row: 1, shape: 'line', tone: 'good' },
  closed: { row: 1, shape: 'line', tone: 'bad' },
  'told-to-end': { row: 1, shape: 'cross', tone: 'bad' },
  'token-renewed': { row: 1, shape: 'circle', tone: 'plain' },
  kick: { row: 1, shape: 'cross', tone: 'bad' },
  banned: { row: 1, shape: 'cross', tone: 'bad' },
  'ban-lifted': { row: 1, shape: 'circle', tone: 'good' },
  'room-granted': { row: 1, shape: 'circle', tone: 'plain' },
  'room-revoked': { row: 1, shape: 'circle', tone: 'plain' },
  'set-aside': { row: 1, shape: 'cross', tone: 'bad' },
  requested: { row: 2, shape: 'diamond', tone: 'downlink' },
  redelivered: { row: 1, shape: 'diamond', tone: 'downlink' }, // in the row of what operators do
  sent: { row: 2, shape: 'down', tone: 'downlink' },
  written: { row: 2, shape: 'down', tone: 'plain' },
  acked: { row: 3, shape: 'circle', tone: 'good' },
  skipped: { row: 3, shape: 'cross', tone: 'bad' },
  expired: { row: 3, shape: 'cross', tone: 'bad' },
  dropped: { row: 3, shape: 'cross', tone: 'bad' },
  duplicate: { row: 3, shape: 'circle', tone: 'plain' },
}

/** The user first, then devices in the order in which they came. */
export function lanesOf ({ marks, connections }: Pick<Timeline, 'marks' | 'connections'>): Lane[] {
  const platforms = new Map<string, string>([['', '']])
  for (const { deviceId, platform } of connections) platforms.set(deviceId, platform)
  for (const { deviceId } of marks) if (!platforms.has(deviceId)) platforms.set(deviceId, '')
  return [...platforms].map(([deviceId, platform]) => ({ deviceId, platform }))
}

/** All of the timeline, with some room around it. */
export function wholeSpan (marks: readonly PlacedMark[], nowMs: number): Span {
  const [first = nowMs, last = nowMs] = marks.length === 0 ? [] : [marks[0]!.atMs, marks.at(-1)!.atMs]
  const room = Math.max(shortestMs, (last - first) / 20)
  return { fromMs: first - room, toMs: last + room }
}

/** @param factor below 1 shows less, around `atMs`, which stays where it is */
export function zoomed ({ fromMs, toMs }: Span, factor: number, atMs = (fromMs + toMs) / 2): Span {
  const wanted = Math.max(shortestMs, (toMs - fromMs) * factor)
  const share = (atMs - fromMs) / (toMs - fromMs)
  return { fromMs: atMs - share * wanted, toMs: atMs + (1 - share) * wanted }
}

/** @param share of what is shown, to the right where it is positive */
export function moved ({ fromMs, toMs }: Span, share: number): Span {
  const byMs = (toMs - fromMs) * share
  return { fromMs: fromMs + byMs, toMs: toMs + byMs }
}

/** Marks that a span shows. */
export function within (marks: readonly PlacedMark[], { fromMs, toMs }: Span): PlacedMark[] {
  return marks.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
}

/** Where entries stand, each once, in order: what the slider goes over. */
export function positionsOf (marks: readonly PlacedMark[]): Array<Pick<PlacedMark, 'position' | 'atMs'>> {
  return marks.filter(({ position }, i) => marks[i - 1]?.position !== position)
}
