import type { Entry, LoginPolicy } from '../../schemas/facts.js'
import type { RoomPatterns } from '../../schemas/room-rights.js'
import type { EdgeRooms } from '../edge-rooms/edge-rooms.js'
import type { Links } from '../links.js'
import type { WaitProbe } from '../wait-probe.js'
import type { Connection } from './connection.js'
import type { Flow } from './flow.js'
import type { Intake } from './intake.js'
import type { Stopwatch } from './stopwatch.js'
import type { EdgeTracer } from './tracer.js'
import type { Work } from './work.js'

/** What all connection actors of an edge share. */
export interface EdgeContext {
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly limits: EdgeLimits
  /** What all of them have read and not dealt with. */
  readonly intake: Intake
  /** What of it is not stored, in overload. */
  readonly work: Work
  readonly flow: Flow
  readonly links: Links
  /** Coarse clock: units of `tickMs` since the process started. Small integers take no memory of their own. */
  ticks (): number
  /** @throws GatewayError with how long the client is to wait, where that is known */
  verify (token: string, bearer: TokenBearer): Promise<Identity>
  partitionOf (userId: string): number
  /**
   * @param entries of one user
   * @throws GatewayError `ledger-unavailable` nothing was written
   */
  append (partition: number, entries: readonly Entry[]): Promise<unknown>
  /** Appends the end of a connection, or what was refused at it, as soon as the ledger takes it. */
  appendLater (partition: number, entry: Entry): void
  /** The ledger will never take what a connection reports of itself; whoever is told records it. */
  setAside (entry: Entry, partition: number, error: Error): void
  /** How long frames wait for the turn of their connection. */
  readonly reads: WaitProbe
  /**
   * An uplink came.
   *
   * @param isQuiet see `Connection.isQuiet`
   * @returns false where the node bears none of this priority, or of this user, just now
   */
  bears (userId: string, priority: number, isQuiet: boolean): boolean
  /** Why no user actor can answer just now, in words; empty where one may. */
  usersAway (): string
  /**
   * False where the node is full, busy or leaving: `connect` is answered with `redirect`.
   *
   * @param userId undefined before it is known
   */
  admits (transport: string, userId: string | undefined): boolean
  /** Alternatives for a client that is sent away. */
  alternates (transport: string): readonly string[]
  /** Looks for other edges where none is known. Resolves soon, whether there are any or not. */
  lookAround (transport: string): Promise<void>
  /** How long a client that is sent away waits at least. */
  sentAwayMs (): number
  /** Undefined where no app has rules of its own. */
  readonly apps?: AppsOfEdge | undefined
  readonly rooms: EdgeRooms
  opened (connection: Connection): void
  /** Its acks or writes, or uplinks that it refused, are to be reported soon. */
  reportSoon (connection: Connection): void
  /** Where the time of one uplink at a time goes. */
  readonly stopwatch: Stopwatch
  /** Undefined where nothing is traced. */
  readonly tracer?: EdgeTracer | undefined
  readonly count: EdgeCounters
  failed (what: string, error: Error, fields: object): void
}

/** `full` where the user's app has all the connections that it may have here, `unknown` where there is no such app. */
export type Joined = 'joined' | 'full' | 'unknown'

/** What an edge does otherwise for users of some apps. */
export interface AppsOfEdge {
  /** Undefined where the user's app has none of its own. */
  loginPolicyOf (userKey: string): LoginPolicy | undefined
  join (connection: Connection, userKey: string): Joined
  /** Its socket is gone; it may be one that never joined. */
  left (connection: Connection): void
}

export interface EdgeLimits {
  readonly heartbeatMs: number
  /** The longest silence that a client is given for saying that it means to be silent. */
  readonly silenceMaxMs: number
  readonly uplinkWindow: number
  readonly frameBytesMax: number
  /** Frames a second and burst of one connection; 0 for no limit. */
  readonly frameRate: number
  readonly frameBurst: number
  /** Bytes a second that a frame which has begun must bring; 0 for none. */
  readonly byteRateMin: number
  readonly loginPolicy: LoginPolicy
  /** The stream `presence` is written. */
  readonly presence: boolean
  /** How long a device may be away before that says so. */
  readonly presenceGraceMs: number
  readonly handshakeMs: number
  readonly writeQueueBytesMax: number
  /** Queue below which a connection that is behind asks for more downlinks. */
  readonly resumeBytesMax: number
  /** How long a closing socket may take to send what is queued. */
  readonly lingerMs: number
}

/** Who shows a token, as he says himself, and from where. */
export interface TokenBearer {
  /** The token came with `connect`, or later on the open connection. */
  readonly frame: 'connect' | 'token'
  readonly deviceId: string
  readonly platform: string
  /** Empty with `token`. */
  readonly client: string
  /** Remote IP address and port. */
  readonly address: string
}

export interface Identity {
  /** The user's key: with the app whose issuer vouches for him. */
  readonly userId: string
  /** The token's `dev` claim. */
  readonly deviceId: string | undefined
  /** The token's `jti`; empty where it has none that is an id. */
  readonly tokenId: string
  /** What the token's `rooms` claim allows. */
  readonly rooms: RoomPatterns
  /** The token's `exp`, ms since 1970; Infinity for one that does not expire. */
  readonly expiresAtMs: number
  /** When the connection ends with it: clocks may differ by as much as lies between. */
  readonly endsAtMs: number
  /** A service of business said so: the token itself need not, and its client is told when it expires. */
  readonly isAsked?: boolean
}

/** Counters for metrics, by the names of docs/operations.md. */
export interface EdgeCounters {
  uplinks: number
  downlinks: number
  signals: number
  /** Posts written to members of rooms. */
  posts: number
  /** Signals that were written for broadcasts, and connections left out because their clients did not read. */
  broadcastsSent: number
  broadcastsSlow: number
  /** Connections that were ended for a frame that came too slowly. */
  slowFrames: number
  /** Some downlinks are timed: from their request to their write, and from there to their ack. */
  downlinkDelivered (ms: number): void
  downlinkAcked (ms: number): void
  /** A client was told that uplinks of it were refused. */
  refused (code: string): void
  closed (code: string): void
}
