import type { Test } from 'tap'
import type { EdgeContext, EdgeLimits, Identity } from '../../../actors/connection/edge-context.js'
import type { ConnectionEvent } from '../../../actors/connection/events.js'
import { Flow } from '../../../actors/connection/flow.js'
import { Intake } from '../../../actors/connection/intake.js'
import { tickMs } from '../../../actors/connection/lifetime.js'
import { Stopwatch } from '../../../actors/connection/stopwatch.js'
import type { Wire } from '../../../actors/connection/wire.js'
import { Work } from '../../../actors/connection/work.js'
import type { EdgeRooms } from '../../../actors/edge-rooms/edge-rooms.js'
import { localLinks, type Question } from '../../../actors/links.js'
import { startActors } from '../../../actors/system.js'
import { WaitProbe } from '../../../actors/wait-probe.js'
import type { Welcome } from '../../../actors/user/effects.js'
import { Edge } from '../../../gateway/edge/edge.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { ConnectionClosed, Entry } from '../../../schemas/facts.js'
import type { Frame, ServerFrame } from '../../../schemas/frames.js'
import { RoomPatterns } from '../../../schemas/room-rights.js'
import { givenRooms } from '../../actors/edge-rooms/given-rooms.js'
import { until } from '../node.js'

const unlimited = new Flow({ byteRate: 0, byteBurst: 0, userByteRate: 0, userFrameRate: 0 })

/** Short, for the edge looks at its connections four times in each; the clock of the connections is the test's own. */
const handshakeMs = 200

/**
 * A connection without a node: what it appends is stored when the test says so, its user actor is the test, and so are
 * the verifier of its tokens and the clock that the edge's sweep goes by.
 */
export function givenConnection (
  t: Test, limits: Partial<EdgeLimits> = {}, intake = new Intake(1 << 25), flow = unlimited,
  rooms: EdgeRooms = givenRooms(t).rooms, work = new Work(() => false)
) {
  const written: ServerFrame[] = []
  const appended: Entry[] = []
  const asked: Question[] = []
  let paused = false
  let mayCrash = false
  let now = 0
  let queuedBytes = 0
  let bytesIn = 0
  let priorityMin = -Infinity
  let usersAway = ''
  let isAdmitted: (userId: string | undefined) => boolean = () => true
  const verifying: Array<{ token: string, resolve: (identity: Identity) => void, reject: (err: unknown) => void }> = []
  const appends: Array<{ resolve: () => void, reject: (error: Error) => void }> = []
  const wire: Wire = {
    transport: 'tcp',
    address: '192.0.2.1:4000',
    get queuedBytes () { return queuedBytes },
    get bytesIn () { return bytesIn },
    bytesOut: 0,
    write (frame) { written.push(frame) },
    writeSignal () {},
    writeShared ({ frame }) { written.push(frame) },
    bytesOf: () => 0,
    flush () {},
    pause () { paused = true },
    resume () { paused = false },
    end () {},
    destroy () {},
  }
  const context: EdgeContext = {
    nodeId: 'n1',
    nodeEpoch: 1,
    limits: {
      heartbeatMs: 45_000,
      silenceMaxMs: 1_800_000,
      uplinkWindow: 256,
      frameBytesMax: 65_536,
      frameRate: 0,
      frameBurst: 2,
      byteRateMin: 0,
      loginPolicy: 'device',
      presence: true,
      presenceGraceMs: 0,
      handshakeMs,
      writeQueueBytesMax: 1 << 20,
      resumeBytesMax: 1 << 18,
      lingerMs: 10,
      ...limits,
    },
    intake,
    work,
    flow,
    links: { ...localLinks(), toUser (question) { asked.push(question) } },
    ticks: () => now,
    verify: token => new Promise((resolve, reject) => { verifying.push({ token, resolve, reject }) }),
    partitionOf: () => 0,
    append (_partition, entries) {
      appended.push(...entries)
      return new Promise<void>((resolve, reject) => { appends.push({ resolve, reject }) })
    },
    appendLater (_partition, entry) { appended.push(entry) },
    setAside (_entry, _partition, error) { t.fail(`a report was set aside: ${error}`) },
    reads: new WaitProbe(),
    bears: (_userId, priority) => priority >= priorityMin,
    usersAway: () => usersAway,
    admits: (_transport, userId) => isAdmitted(userId),
    alternates: () => [],
    lookAround: async () => {},
    sentAwayMs: () => 5_000,
    rooms,
    opened (connection) { edge.opened(connection) },
    stopwatch: new Stopwatch(() => {}, () => 0),
    reportSoon () {},
    count: {
      uplinks: 0,
      downlinks: 0,
      signals: 0,
      posts: 0,
      slowFrames: 0,
      broadcastsSent: 0,
      broadcastsSlow: 0,
      downlinkDelivered () {},
      downlinkAcked () {},
      refused () {},
      closed () {},
    },
    failed (what, error) { if (!mayCrash) t.fail(`${what}: ${error}`) },
  }
  const system = startActors()
  t.teardown(() => { system.stop() })
  const edge = new Edge(context, system, {
    connectionsMax: 10, acceptRate: 0, lingerersMax: 10, ageMaxMs: 0,
  })
  t.teardown(() => edge.stop())
  let sweeps = 0
  const { lingerers } = edge
  const sweep = lingerers.sweep.bind(lingerers)
  lingerers.sweep = () => { sweeps++; sweep() }
  const connection = edge.accept(wire, wire.address, context.ticks())
  const tell = (event: ConnectionEvent) => { connection.tell(event) }
  return {
    connection,
    written,
    asked,
    verifying,
    tell,
    received (...frames: Frame[]) {
      bytesIn += bytesOf(frames)
      connection.reading.hasRead(connection, bytesOf(frames))
      connection.received(frames, bytesOf(frames))
    },
    /** One read brought so many bytes. */
    reads (bytes: number) {
      bytesIn += bytes
      connection.reading.hasRead(connection, bytes)
    },
    /** A read ended within a frame, of which so many bytes are kept. */
    keepsPartial (bytes: number) { connection.reading.keepsPartial(connection, bytes) },
    /** Its actor fails at a frame. */
    crash () {
      mayCrash = true
      connection.received([{ op: 'downlinkAck', get seq (): never { throw new Error('planted') } }], 0)
    },
    isPaused: () => paused,
    letIn (more: Partial<Identity> = {}) { verifying.shift()!.resolve(identity(more)) },
    appended: () => appended.map(({ fact }) => fact.type),
    uplinksAppended: () => appended.flatMap(({ fact }) => fact.type === 'UplinkReceived' ? [fact.seq] : []),
    end: () => appended.map(({ fact }) => fact).find((fact): fact is ConnectionClosed => fact.type === 'ConnectionClosed'),
    storeAll () { for (const { resolve } of appends.splice(0)) resolve() },
    refuseAll () {
      for (const { reject } of appends.splice(0)) reject(new GatewayError('ledger-unavailable', 'the disk is full'))
    },
    welcome (more: Partial<Welcome> = {}) {
      const { connectionId } = connection
      tell({
        type: 'welcome', nodeId: 'n1', connectionId, resumed: false, uplinkSeq: 0, downlinkSeq: 0, lastSeq: 0, missed: 0, ...more,
      })
    },
    /** Its client reads too slowly. */
    queues (bytes: number) { queuedBytes = bytes },
    shedReaders () { edge.shedReaders() },
    /** Uplinks of a lower priority are refused. */
    bearsFrom (priority: number) { priorityMin = priority },
    /** Whether a client is to be taken, before it is known who it is, and afterwards. */
    /** @param reason why no user actor can answer; empty where one can */
    usersGo (reason: string) { usersAway = reason },
    admitsWhen (isIn: typeof isAdmitted) { isAdmitted = isIn },
    /** The user actor says once more which uplinks the session has. */
    has (uplinkSeq: number) { this.welcome({ uplinkSeq }) },
    acked (seq: number) { this.tells(seq, []) },
    tells (seq: number, userSeqs: number[]) {
      const { connectionId } = connection
      tell({ type: 'ackUplinks', nodeId: 'n1', connectionId, seq, userSeqs })
    },
    refused (expectedSeq: number) {
      const { connectionId } = connection
      tell({ type: 'refuseUplink', nodeId: 'n1', connectionId, expectedSeq, code: 'gap' })
    },
    downlink (seq: number) {
      const { connectionId } = connection
      const downlink = {
        messageId: `m${seq}`, service: '', payload: Buffer.of(), requestedAtMs: 0, expiresAtMs: 0, platforms: [], exceptDevices: [],
      }
      tell({ type: 'deliver', nodeId: 'n1', connectionId, seq, downlink: downlink as never })
    },
    /** The socket is closed by the client. */
    leaves (clean: boolean) { edge.closed(connection, clean) },
    phase: () => connection.phase,
    /** Time goes on, and the edge has looked at its connections since. */
    async pass (ms: number): Promise<void> {
      now += ms / tickMs
      const before = sweeps
      await until('the edge has looked', () => sweeps > before)
      await turn()
    },
  }
}

export type GivenConnection = ReturnType<typeof givenConnection>

export function identity (more: Partial<Identity> = {}): Identity {
  return { userId: 'ann', deviceId: undefined, tokenId: '', rooms: RoomPatterns.none, expiresAtMs: Infinity, endsAtMs: Infinity, ...more }
}

function bytesOf (frames: Frame[]): number {
  return frames.reduce((sum, frame) => sum + ('payload' in frame ? frame.payload.length : 0), 0)
}

/** What was told is handled. */
export async function turn (): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
}

export const connect: Frame = {
  op: 'connect', token: 't', deviceId: 'phone', platform: '', client: '', sessionId: 's1', downlinkSeq: 0,
}

export function ping (more: { downlinkSeq?: number, silentMs?: number } = {}): Frame {
  return { op: 'ping', downlinkSeq: 0, silentMs: 0, ...more }
}

export function uplinks (from: number, to: number): Frame[] {
  return Array.from({ length: to - from + 1 }, (_, i): Frame =>
    ({ op: 'uplink', seq: from + i, service: '', payload: Buffer.of(), priority: 0, roomId: '' }))
}

export async function verified (client: GivenConnection, more: Partial<Identity> = {}): Promise<void> {
  await until('connect is taken', () => client.phase() === 'verifying')
  client.letIn(more)
  await until('the token is verified', () => client.phase() === 'opening')
}

/** One that is open. What it was told so far is `connected`. */
export async function openConnection (
  t: Test, limits: Partial<EdgeLimits> = {},
  { token, welcome }: { token?: Partial<Identity>, welcome?: Partial<Welcome> } = {}, intake?: Intake, flow?: Flow,
  rooms?: EdgeRooms, work?: Work
): Promise<GivenConnection> {
  const client = givenConnection(t, limits, intake, flow, rooms, work)
  client.received(connect)
  await verified(client, token)
  client.storeAll()
  client.welcome(welcome)
  await until('it is open', () => client.phase() === 'open')
  return client
}
