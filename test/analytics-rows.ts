import type { ConnectionEnded, DownlinkHandedOver, DownlinkSettled, PresenceChanged } from '../schemas/records.js'
import { ended } from './evidence/connection-rows.js'

const start = Date.UTC(2026, 10, 19, 8)
const dayMs = 86_400_000
const hourMs = 3_600_000
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

/** One stay of a user each, in hours of the first day, in the order of the changes. */
const stays: readonly [userId: string, from: number, to: number | undefined][] = [
  ['u0', 8, 9], ['u1', 8, 10], ['u2', 8, 11], ['u3', 8, 12],
  ['owl', 22, 25.5], // over midnight
  ['still', 33, undefined],
]

/** Who came and went; each user with a second device in between, whose changes are not the user's. */
export function plantedPresence (): PresenceChanged[] {
  return stays.flatMap(([userId, from, to]) => {
    const changes = [change(userId, 1, 'phone', from), change(userId, 2, 'tablet', from + 0.25)]
    if (to === undefined) return changes
    return [...changes, change(userId, 3, 'phone', to - 0.5, 'offline'), change(userId, 4, 'tablet', to, 'offline')]
  }).sort((a, b) => a.atMs - b.atMs)
}

function change (
  userId: string, presenceSeq: number, deviceId: string, hour: number, change: PresenceChanged['change'] = 'online'
): PresenceChanged {
  return {
    userId,
    presenceSeq,
    deviceId,
    platform: 'ios',
    connectionId: `${userId}-${deviceId}`,
    change,
    userChanged: presenceSeq === 1 || presenceSeq === 4,
    cause: change === 'online' ? 'connected' : 'disconnected',
    atMs: start - 8 * hourMs + hour * hourMs,
  }
}

/** Of 100 orders 90 are acked at once, every third on a second device much later; of 50 chats all but two. */
export function plantedReceipts (): DownlinkSettled[] {
  const receipts: DownlinkSettled[] = []
  const add = (service: string, n: number, deviceId: string, seconds: number, outcome: string, reason = '') => {
    const requestedAtMs = start + n * 1000
    receipts.push({
      userId: `u${n}`,
      receiptSeq: receipts.filter(({ userId }) => userId === `u${n}`).length + 1,
      messageId: `${service}-${n}`,
      service,
      deviceId,
      seq: 1,
      outcome,
      reason,
      requestedAtMs,
      settledAtMs: requestedAtMs + seconds * 1000,
    })
  }
  for (let n = 0; n < 100; n++) {
    if (n < 90) add('orders', n, 'phone', 0.2, 'acked')
    else if (n < 95) add('orders', n, 'phone', 300, 'acked')
    else add('orders', n, 'phone', 600, 'expired', 'expired')
    if (n % 3 === 0) add('orders', n, 'tablet', 700, 'acked')
  }
  for (let n = 0; n < 48; n++) add('chat', n, 'phone', 1, 'acked')
  for (let n = 48; n < 50; n++) add('chat', n, 'phone', 1, 'dropped', 'recalled')
  return receipts.sort((a, b) => a.settledAtMs - b.settledAtMs)
}

/** Of 20 orders that were handed over 8 are acked after all, of 10 chats 5: each 30 s after the one before. */
export function plantedOffline (): DownlinkHandedOver[] {
  const of = (service: string, n: number, more: Partial<DownlinkHandedOver>): DownlinkHandedOver => ({
    userId: `u${n}`,
    offlineSeq: 1,
    change: 'due',
    messageId: `${service}-${n}`,
    service,
    payload: Buffer.from('shipped'),
    deviceIds: ['phone'],
    reason: '',
    requestedAtMs: start,
    expiresAtMs: start + dayMs,
    atMs: start + 15_000,
    ...more,
  })
  const all: DownlinkHandedOver[] = []
  for (const [service, count, acked, first] of [['orders', 20, 8, 0], ['chat', 10, 5, 20]] as const) {
    for (let n = 0; n < count; n++) {
      all.push(of(service, first + n, {}))
      if (n >= acked) continue
      const atMs = start + 15_000 + (n + 1) * 30_000
      all.push(of(service, first + n, { offlineSeq: 2, change: 'withdrawn', reason: 'acked', payload: Buffer.alloc(0), atMs }))
    }
  }
  return all.sort((a, b) => a.atMs - b.atMs)
}
