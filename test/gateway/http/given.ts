import pino from 'pino'
import type { Block, LogReader } from '../../../ledger/log.js'
import type { DownlinkCommand, UplinkAccepted } from '../../../schemas/records.js'
import { noReport, type NodeRow } from '../../../projections/nodes.js'
import { LoadHistory } from '../../../gateway/console/load-history.js'
import { ConsoleSessions } from '../../../gateway/console/sessions.js'
import { ApiKeys } from '../../../gateway/keys/api-keys.js'
import type { KickCommand } from '../../../gateway/kick.js'
import { originRule } from '../../../gateway/origins.js'
import { buildHttp } from '../../../gateway/http/server.js'
import type { HttpDeps } from '../../../gateway/http/server.js'

export const key = { authorization: 'Bearer key-two-of-the-tests' }

export const node: NodeRow = {
  nodeId: 'n1',
  epoch: 1,
  state: 'up',
  alive: true,
  region: 'local',
  roles: 'all',
  version: '1.2.3',
  wsUrl: 'ws://n1/v1/connect',
  tcpUrl: 'tcp://n1:9100',
  connectionsMax: 10,
  leaseMs: 15_000,
  reported: { ...noReport, connections: 5, eventLoopUtilization: 0.5, rssBytes: 1, memoryBytesMax: 2 },
  startedAtMs: 1,
  reportedAtMs: 2,
  aliveUntilMs: 15_002,
}

/** An app over hand-written deps, and what it asked of them. */
export function givenApp (t: Teardown, overrides: Partial<HttpDeps> = {}) {
  const asked: Asked = { commands: [], kicks: [] }
  const app = buildHttp({
    logger: pino({ enabled: false }),
    roles: ['push', 'ip-config'],
    apiKeys: new ApiKeys(['key-one-of-the-tests', 'key-two-of-the-tests']),
    isAllowedOrigin: originRule(['https://app.example.com']),
    version: '1.2.3',
    frameBytesMax: 1024,
    recordAsked: async () => {},
    ipConfig: ({ transport, region }) => ({
      endpoints: [`${transport}://${region}.example.com`],
      ttlMs: 1,
      heartbeatMs: 2,
      backoff: { baseMs: 3, capMs: 4 },
      asOfMs: 5,
    }),
    push: async command => {
      asked.commands.push(command)
      const users = command.userIds.map(userId => userId === 'banned'
        ? { userId, status: 'rejected' as const, code: 'banned' }
        : { userId, status: 'queued' as const, position: '3@1021.4' })
      return { messageId: command.messageId, users }
    },
    webhooks: () => [],
    redeliverWebhook: async webhook => ({ webhook, sent: 0, undelivered: 0 }),
    presence: async userId =>
      ({ userId, online: false, sessions: [], lastSeenAtMs: null, asOf: { position: '0@1.0', atMs: 9 } }),
    kick: async command => {
      asked.kicks.push(command)
      const known = command.connectionId === 'c1' || command.userId === 'ann'
      return { connections: known ? [{ userId: 'ann', connectionId: 'c1' }] : [] }
    },
    roomState: async roomId => ({
      roomId,
      asOf: null,
      knownSince: null,
      roomSeq: 0,
      keptAfter: 0,
      closed: false,
      closeReason: '',
      nodes: [],
      posts: [],
    }),
    tracePost: async roomId => ({ roomId, steps: [], verdict: { code: 'delivered', cause: '', text: 'delivered' } }),
    trace: async userId => ({ userId, steps: [], verdict: { code: 'acked', cause: '', text: 'acked' } }),
    timeline: async userId => ({ userId, marks: [], more: 0, connections: [], isKnown: false, knownSince: null }),
    state: async userId => ({
      userId,
      asOf: null,
      knownSince: null,
      userSeq: 0,
      sessions: [],
      connections: [],
      waiting: [],
      memberships: [],
    }),
    ban: async ({ reason: _, ...command }) => ({ ...command, position: '3@1021.4' }),
    recall: async () => ({ position: '3@1021.4', status: 'recalled' }),
    liftBan: async () => {},
    bansOf: async () => [],
    grantRoom: async ({ by: _by, requestId: _id, ...command }) => ({ ...command, position: '3@1021.4' }),
    revokeRoom: async () => {},
    roomsOf: async () => [],
    console: {
      sessions: new ConsoleSessions(new ApiKeys([])),
      nodeId: 'n1',
      version: '1.2.3',
      load: sinceMs => new LoadHistory().since(sinceMs),
    },
    rooms: {
      post: async ({ messageId }) => ({ messageId, status: 'queued', position: '3@1021.4' }),
      close: async () => '3@1021.4',
      keptPosts: async () => undefined,
      timeOf: async () => ({ postedAtMs: 0, roomSeq: 1_000_000 }),
      info: async () => ({ roomSeq: 0, keptAfter: 0, closed: false, nodes: [] }),
      members: async () => ({ members: [], next: null, total: 0, unknown: [] }),
    },
    broadcasts: {
      request: async ({ messageId }) => ({ messageId, status: 'queued' }),
      describe: async (app, messageId) => ({
        app,
        messageId,
        service: '',
        platforms: [],
        regions: [],
        perSecond: 500,
        ttlMs: 600_000,
        by: '',
        requestedAtMs: 1,
        state: 'done',
        sent: 1,
        slow: 0,
        left: 0,
        nodes: [{ nodeId: 'n1', state: 'done', sent: 1, slow: 0, left: 0 }],
      }),
      cancel: async () => {},
    },
    redeliver: async ({ requestId }) => ({ requestId, redelivered: [], notFound: [] }),
    drain: async command => ({ ...command, drainId: 'd1' }),
    drainState: async (nodeId, moves) => ({
      nodeId,
      drainId: 'd1',
      state: 'done',
      percent: 100,
      withinMs: 60_000,
      startedAtMs: 1,
      total: 1,
      asked: 1,
      left: 1,
      closed: 0,
      resumed: 1,
      uplinksLost: 0,
      downlinksLost: 0,
      members: 3,
      membersResumed: 2,
      ...(moves ? { moves: [] } : {}),
    }),
    nodes: async () => ({ nodes: [node], asOf: { position: '0@1.0', atMs: 9 } }),
    readiness: () => ({ ready: true, checks: { log: { ok: true, reason: '' } } }),
    health: () => ({ ready: true, troubles: [], total: 0 }),
    metrics: { contentType: 'text/plain; version=0.0.4', metrics: async () => 'up 1\n' },
    logReader: givenUplinks([[]]).log,
    streams: [],
    rebuild: () => { throw new Error('not here') },
    lag: async () => [],
    groups: {
      join: async () => { throw new Error('not here') },
      ack: async (_name, cursors) => cursors.map(cursor => ({ cursor, status: 'acked' })),
      list: async () => ['orders'],
      describe: async () => undefined,
      forget: async () => {},
    },
    topics: async () => [],
    backup: async () => { throw new Error('not here') },
    audit: () => { throw new Error('not here') },
    keys: async () => [],
    createKey: async (_app, wanted) => ({ ...wanted, id: '5f0c9a1b2e', key: 'll_', createdAt: '2026-06-01T00:00:00Z', state: 'good' }),
    revokeKey: async () => { throw new Error('not here') },
    ...overrides,
  })
  t.teardown(() => app.close())
  return { app, asked }
}

interface Teardown { teardown (done: () => Promise<void>): void }

interface Asked { readonly commands: DownlinkCommand[], readonly kicks: KickCommand[] }

/** A log with one stream, whose partitions are arrays of blocks; `add` makes followers go on. */
export function givenUplinks (partitions: UplinkAccepted[][][], first = 0n) {
  const waiting = new Set<() => void>()
  let open = 0
  const log: LogReader = {
    partitions: () => partitions.length,
    bounds: async (_stream, partition) => ({ first, next: first + BigInt(partitions[partition]!.length) }),
    offsetAt: async () => first,
    async * read (_stream, partition, { from, to, signal }): AsyncGenerator<Block<any>> {
      const blocks = partitions[partition]!
      const end = blocks.length
      open++
      try {
        const until = to === undefined ? signal === undefined ? end : Infinity : Number(to - first)
        for (let i = Math.max(0, Number(from - first)); i < until; i++) {
          while (i >= blocks.length) {
            if (signal?.aborted) return
            await new Promise<void>(resolve => {
              waiting.add(resolve)
              signal?.addEventListener('abort', () => resolve(), { once: true })
            })
          }
          yield { partition, offset: first + BigInt(i), items: blocks[i]! }
        }
      } finally {
        open--
      }
    },
  }
  return {
    log,
    add (partition: number, block: UplinkAccepted[]) {
      partitions[partition]!.push(block)
      for (const wake of waiting) wake()
      waiting.clear()
    },
    open: () => open,
  }
}

export function uplink (userId: string, userSeq: number, fields: Partial<UplinkAccepted> = {}): UplinkAccepted {
  return {
    userId,
    userSeq,
    deviceId: 'phone',
    platform: 'ios',
    sessionId: 's1',
    seq: userSeq,
    connectionId: 'c1',
    service: '',
    payload: Buffer.from(`${userId} ${userSeq}`),
    priority: 0,
    receivedAtMs: 1_700_000_000_000,
    roomId: '',
    ...fields,
  }
}
