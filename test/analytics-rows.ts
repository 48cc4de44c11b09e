import type { ConnectionEnded } from '../schemas/records.js'
import { ended } from './evidence/connection-rows.js'

const start = Date.UTC(2026, 10, 19, 8)
const dayMs = 86_400_000
/** Connections of each device, one after the other. */
const perDevice = 10

interface Group {
  readonly platform: string
  readonly client: string
  readonly network: string
  readonly count: number
  /** How many end with each code, in this order, and `disconnected` after them. */
  readonly codes: Readonly<Record<string, number>>
  /** Seconds that the nth of the group lasts. */
  lasts (n: number): number
  /** Seconds until the device is back. */
  readonly awaySeconds: number
  roundTripMs (n: number): number
}

const groups: readonly Group[] = [
  {
    platform: 'ios',
    client: 'app/2.0',
    network: '10.20',
    count: 100,
    awaySeconds: 5,
    codes: { 'heartbeat-timeout': 2, migrating: 8 },
    lasts: n => n + 1,
    roundTripMs: n => 40 + n % 10,
  },
  {
    platform: 'ios',
    client: 'app/2.1',
    network: '10.20',
    count: 100,
    awaySeconds: 5,
    codes: { 'heartbeat-timeout': 20, migrating: 5 },
    lasts: n => n + 101,
    roundTripMs: n => 40 + n % 10,
  },
  {
    platform: 'android',
    client: 'app/2.1',
    network: '100.64',
    count: 200,
    awaySeconds: 30,
    codes: { 'heartbeat-timeout': 10, 'connection-lost': 10 },
    lasts: n => 2 * n + 2,
    roundTripMs: n => 120 + n % 10,
  },
  {
    platform: 'web',
    client: 'app/2.1',
    network: '192.0',
    count: 50,
    awaySeconds: 600,
    codes: {},
    lasts: () => 60,
    roundTripMs: () => -1,
  },
  {
    platform: 'tv',
    client: 'tv/1.0',
    network: '192.0',
    count: 10,
    awaySeconds: 1,
    codes: { 'connection-lost': 10 },
    lasts: () => 2,
    roundTripMs: () => -1,
  },
]

/** The rows whose answers test/analytics.test.ts knows, in the order of their ends. */
export function plantedRows (): ConnectionEnded[] {
  return groups.flatMap((group, g) => rowsOf(group, `g${g}`)).sort((a, b) => a.closedAtMs - b.closedAtMs)
}

function rowsOf (group: Group, prefix: string): ConnectionEnded[] {
  const { platform, client, network, count, awaySeconds } = group
  const codes = codesOf(group)
  const rows: ConnectionEnded[] = []
  for (let device = 0; device * perDevice < count; device++) {
    // Every other device is of the second day.
    let openedAtMs = start + device % 2 * dayMs + device * 60_000
    let before: ConnectionEnded | undefined
    for (let nth = 0; nth < perDevice; nth++) {
      // The nths of all devices first, so that the last of a device is never one that moves over.
      const n = nth * count / perDevice + device
      const closedAtMs = openedAtMs + group.lasts(n) * 1000
      before = ended(`${prefix}-user${device}`, `${prefix}-${n}`, {
        platform,
        client,
        openedAtMs,
        closedAtMs,
        code: codes[n] ?? 'disconnected',
        address: `${network}.${n % 200}.7:${4000 + n}`,
        roundTripMs: group.roundTripMs(n),
        bytesIn: 1000,
        bytesOut: 9000,
        uplinks: 20,
        downlinksWritten: 80,
        resumedFrom: before?.connectionId ?? '',
      })
      rows.push(before)
      openedAtMs = closedAtMs + (before.code === 'migrating' ? -1 : awaySeconds) * 1000
    }
  }
  return rows
}

function codesOf ({ codes }: Group): string[] {
  return Object.entries(codes).flatMap(([code, count]) => new Array<string>(count).fill(code))
}
