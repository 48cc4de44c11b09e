/** An entry of the stream `nodes`, keyed by `nodeId`; streams/nodes.avsc is its Avro form. */
export interface NodeEntry {
  readonly nodeId: string
  /** New at every start of the node, increasing; ms since 1970 of the start. */
  readonly epoch: number
  readonly atMs: number
  readonly fact: NodeFact
}

export type NodeFact =
  | NodeStarted | NodeReported | NodeDraining | NodeLost | NodeStopped | NodeDrainRequested | NodeDrainReported
  | BroadcastRequested | BroadcastCancelled | BroadcastReported | OperatorAsked

export interface NodeStarted {
  readonly type: 'NodeStarted'
  readonly region: string
  readonly roles: string
  readonly version: string
  /** What ip-config hands to clients; empty where the node has no edge. */
  readonly wsUrl: string
  readonly tcpUrl: string
  readonly connectionsMax: number
  /** A node that has not reported for this long is lost. */
  readonly leaseMs: number
}

/** A node reports so often within its lease: some may be late or lost before others take it for lost. */
export const reportsPerLease = 3

/** A load report, every few seconds; renews the lease. */
export interface NodeReported {
  readonly type: 'NodeReported'
  readonly connections: number
  /** Share of time the event loop was busy since the last report, 0 to 1. */
  readonly eventLoopUtilization: number
  readonly rssBytes: number
  /** Memory that the process may use. */
  readonly memoryBytesMax: number
  /** Cores that the process used, in the mean. */
  readonly cpuCores: number
  /** How late the event loop was. */
  readonly loopDelayP50Ms: number
  readonly loopDelayP90Ms: number
  readonly loopDelayP99Ms: number
  /** From the append of an uplink until its ack was written, of a sample; 0 for none. */
  readonly ackP50Ms: number
  readonly ackP90Ms: number
  readonly ackP99Ms: number
  /** What an uplink waited for this process between its read and its fold, in the mean. */
  readonly waitMs: number
  /** Above it there is overload; 0: nobody is refused for it. */
  readonly waitMsMax: number
  /** Priorities of uplinks that are refused, from -4 on, and of the next one the share of users; 0 for none. */
  readonly admissionLevel: number
  /** Since its process started; what is not there it has not counted yet. */
  readonly counted: readonly Counted[]
}

/**
 * What a node counts: frames of `uplinks`, `downlinks`, `signals` and `posts`; and by code uplinks that were `refused`,
 * connections that `ended`, and durable downlinks that were `settled` otherwise than acked.
 */
export interface Counted {
  readonly what: string
  /** Empty where it is not by code. */
  readonly code: string
  readonly count: number
}

export interface NodeDraining { readonly type: 'NodeDraining', readonly percent: number, readonly withinMs: number }
/** Its lease ran out; told by another node. */
export interface NodeLost { readonly type: 'NodeLost' }
/** It stopped as asked. */
export interface NodeStopped { readonly type: 'NodeStopped' }

/** An operator wants connections to leave this node; told by the node that was asked. */
export interface NodeDrainRequested {
  readonly type: 'NodeDrainRequested'
  readonly drainId: string
  /** How many of a hundred connections; 0 ends the drain. */
  readonly percent: number
  readonly withinMs: number
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
  /** Why, in the operator's words; empty where none were given. */
  readonly reason: string
}

/** How far a drain is; the numbers count from its start, the moves since the report before. */
export interface NodeDrainReported {
  readonly type: 'NodeDrainReported'
  readonly drainId: string
  readonly startedAtMs: number
  readonly percent: number
  readonly withinMs: number
  /** The last report of this drain. */
  readonly done: boolean
  /** Connections that are to leave; of those, sent a `migrate`; of those, gone; of those, closed by the node. */
  readonly total: number
  readonly asked: number
  readonly left: number
  readonly closed: number
  /** Of those gone, seen on another connection. */
  readonly resumed: number
  readonly uplinksLost: number
  readonly downlinksLost: number
  /** Members of rooms that left with their connections, one for each room of each; of those, seen on another one. */
  readonly members: number
  readonly membersResumed: number
  readonly moves: readonly ConnectionMoved[]
}

/** What became of one connection that had to leave (docs/operations.md, Deploys). */
export interface ConnectionMoved {
  /** The user's key, in the stream as well. */
  readonly userId: string
  readonly deviceId: string
  readonly connectionId: string
  /** Closed by the node, for it did not go. */
  readonly closed: boolean
  /** Where the device resumed; empty where it was not seen again. */
  readonly toNodeId: string
  readonly toConnectionId: string
  /** From `migrate` until it resumed, and how much of that without a connection; -1 where it was not seen again. */
  readonly afterMs: number
  readonly darkMs: number
  /** Taken by the old edge, and neither accepted nor kept by the session; -1 where that can't be told. */
  readonly uplinksLost: number
  readonly downlinksLost: number
  /** Rooms that it was in. */
  readonly rooms: number
}

/**
 * A signal to all connections of an app; told by the node that was asked, and carried out by every edge that reads it.
 * The app and `messageId` together are its identity.
 */
export interface BroadcastRequested {
  readonly type: 'BroadcastRequested'
  /** Empty for the default one. */
  readonly app: string
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  /** Only connections of these; empty for all. */
  readonly platforms: readonly string[]
  /** Only nodes of these; empty for all. */
  readonly regions: readonly string[]
  /** Connections that each node writes to in a second. */
  readonly perSecond: number
  /** Nobody gets it later than that after the time of the entry. */
  readonly ttlMs: number
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/** Who has not had it yet does not get it; told by the node that was asked. */
export interface BroadcastCancelled {
  readonly type: 'BroadcastCancelled'
  readonly app: string
  readonly messageId: string
  readonly by: string
  /** Why, in the words of whoever asked; empty where none were given. */
  readonly reason: string
}

/** How far a node is with a broadcast: once a second, and at its end. */
export interface BroadcastReported {
  readonly type: 'BroadcastReported'
  readonly app: string
  readonly messageId: string
  /** `running`, `done`, `cancelled`, `expired`, or `refused` where the node carries out as many as it may. */
  readonly state: string
  /** Connections that it was written to. */
  readonly sent: number
  /** Connections that were left out, for their clients did not read. */
  readonly slow: number
  /** Connections that were not looked at yet, about. */
  readonly left: number
}

/** An operator asks for something that no other fact tells of; told by the node that was asked, before it does it. */
export interface OperatorAsked {
  readonly type: 'OperatorAsked'
  /** Of the API key, or the one that it asked about; empty for the default one. */
  readonly app: string
  /** Method and path of the request: `DELETE /v1/groups/orders`. */
  readonly what: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
  /** Why, in the operator's words; empty where none were given. */
  readonly reason: string
}
