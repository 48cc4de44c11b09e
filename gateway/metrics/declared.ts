/**
 * A metric of the gateway. Its names follow the conventions of Prometheus: base units, counters end in `_total`.
 *
 * @typeParam L names of its labels
 */
export interface Declared<L extends string = string> {
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** With the prefix that all have. */
  readonly name: string
  readonly help: string
  readonly labels: readonly L[]
  /** Upper bounds, in the unit of the name; of a histogram alone. */
  readonly buckets?: readonly number[]
}

/** 0.1 ms to 1.6 s, a quarter more each: a quantile between two of them is off by an eighth at most. */
const fineSeconds = Array.from({ length: 44 }, (_, i) => Number((0.0001 * 1.25 ** i).toPrecision(3)))
/** 0.1 ms to 6.6 s, twice as much each. */
const storageSeconds = Array.from({ length: 17 }, (_, i) => Number((0.0001 * 2 ** i).toPrecision(3)))
/** 1 ms to 65 s, twice as much each: what a network or somebody else's server is part of. */
const networkSeconds = Array.from({ length: 17 }, (_, i) => Number((0.001 * 2 ** i).toPrecision(3)))

/** The one home of every metric: docs/metrics.md is made of it, and dashboard and alerts are checked against it. */
export const declared = {
  buildInfo: gauge('build_info', 'Always 1; the label says which version runs', 'version'),

  connections: gauge('connections', 'Open connections'),
  connectionsMax: gauge('connections_max', 'Connections that the node takes (LEDGERLINE_CONNECTIONS_MAX); 0 without an edge'),
  connectionsClosed: counter('connections_closed_total', 'Connections ended, by code (docs/errors.md)', 'code'),
  socketsRefused: counter('sockets_refused_total', 'Sockets and upgrades that were refused before a connect, by code', 'code'),
  slowFrames: counter('slow_frames_total', 'Connections ended because a frame came too slowly'),
  tlsFailed: counter('tls_handshakes_failed_total', 'TLS handshakes of clients that failed', 'listener'),
  proxyHeadersRefused: counter('proxy_headers_refused_total',
    'PROXY headers that were bad, missing, or from an address that is not trusted', 'listener'),
  authTokens: counter('auth_tokens_total', 'Tokens that LEDGERLINE_AUTH_URL was asked about, by the outcome', 'outcome'),

  uplinks: counter('uplinks_total', 'Uplinks given to the ledger'),
  uplinksRefused: counter('uplinks_refused_total', 'Times that a client was told uplinkRefused, by code', 'code'),
  uplinkAck: histogram('uplink_ack_seconds',
    'From the append of an uplink to the ledger until its ack is written; samples', fineSeconds),
  uplinkLog: histogram('uplink_log_seconds',
    'The part of uplink_ack_seconds until the uplink is durable; samples', fineSeconds),
  uplinkAccess: histogram('uplink_access_seconds',
    'The part of uplink_ack_seconds after that: fold, link and write; samples', fineSeconds),

  downlinks: counter('downlinks_total', 'Downlink frames written'),
  downlinkDelivery: histogram('downlink_delivery_seconds',
    'From the request of a downlink until it is written to a connection that was open by then; samples', networkSeconds),
  downlinkAck: histogram('downlink_ack_seconds',
    'From the write of a downlink until its client acks it: network and application; samples', networkSeconds),
  downlinksSettled: counter('downlinks_settled_total', 'How durable downlinks ended', 'outcome', 'reason'),
  signals: counter('signals_total', 'Signal frames written'),
  broadcasts: gauge('broadcasts', 'Broadcasts that this node is carrying out'),
  broadcastSignals: counter('broadcast_signals_total', 'Signal frames of broadcasts written'),
  broadcastSlow: counter('broadcast_slow_total', 'Connections that a broadcast left out because their clients did not read'),

  rooms: gauge('rooms', 'Rooms whose posts this node receives, for its members'),
  roomBytes: gauge('room_bytes', 'Bytes of posts that this node keeps for members that come back'),
  roomPosts: counter('room_posts_total', 'Posts written to members of rooms'),

  append: histogram('append_seconds',
    'From an append to the log until it is durable, for appends that do not wait for commits of others; samples', storageSeconds),
  commit: histogram('commit_seconds',
    'One commit of the embedded log, or one request to store that a broker of Kafka has carried out', storageSeconds),
  tableLag: gauge('table_lag_blocks', 'Ledger blocks that a table is behind', 'table'),
  activeUsers: gauge('active_users', 'Users with an actor in memory'),
  activeRooms: gauge('active_rooms', 'Rooms with an actor in memory'),
  commandsRejected: counter('downlinks_rejected_total',
    'Commands of the stream downlinks that can never be sent (they go to downlinks.rejected), by code', 'code'),
  setAside: counter('set_aside_total', 'What was set aside because no user, room or stream can take it (docs/operations.md, Set aside)', 'what'),

  conditionSeconds: gauge('condition_seconds',
    'How long a health condition has lasted (docs/operations.md); 0: all is well', 'condition'),
  circuitState: gauge('circuit_state',
    'Whether calls to a dependency go through: 0 closed, 1 half-open, 2 open', 'dependency'),
  circuitOpened: counter('circuit_opened_total', 'How often a circuit has opened', 'dependency'),
  circuitRefused: counter('circuit_refused_total',
    'Calls that were refused because a circuit was not closed', 'dependency'),
  memoryPressure: gauge('memory_pressure_ratio',
    'Share of the heap or of the memory that the process may use, whichever is scarcer; 0 to 1'),
  intakeBytes: gauge('intake_bytes', 'Bytes read from clients and not processed yet'),
  overloadWait: gauge('overload_wait_seconds',
    'How long an uplink waits for the process between its read and its fold, mean of a window'),
  heldConnections: gauge('overload_held_connections',
    'Connections that are not read until what was read before them is stored'),
  admissionLevel: gauge('admission_level',
    'How many priorities of uplinks are refused, from -4 up, and the refused share of users of the next one; 0: none'),

  drain: gauge('drain_ratio', 'Share of connections that have to leave, 0 to 1; 0 for no drain'),
  drainConnections: gauge('drain_connections', 'Connections of the last drain, by how far they are', 'state'),
  drainMessagesLost: gauge('drain_messages_lost', 'Messages that the last drain lost', 'kind'),

  apiRequests: counter('api_requests_total',
    'Requests to routes that need an API key, by the id of the key (empty: of the environment, or unknown) and the outcome',
    'key', 'admission'),
  groupReaders: gauge('group_readers', 'Readers in groups'),
  groupLagBlocks: gauge('group_lag_blocks',
    'Blocks of a stream that a group of readers has not acked; each node has it for all groups that it knows, as of the ' +
      'scrape before',
    'app', 'group', 'stream'),
  groupLag: gauge('group_lag_seconds',
    'Age of the oldest record that a group of readers has not acked; each node has it for all groups that it knows, as ' +
      'of the scrape before',
    'app', 'group', 'stream'),
  groupUnackedBytes: gauge('group_unacked_bytes', 'Bytes of lines that readers in groups have not acked'),
  groupAcks: counter('group_acks_total', 'Cursors that readers in groups have acked'),

  spansLost: counter('spans_lost_total', 'Spans that the collector of OpenTelemetry did not take'),

  webhookRequests: counter('webhook_requests_total',
    'Requests of webhooks, by how they ended: delivered, refused, failed', 'webhook', 'outcome'),
  webhookRecords: counter('webhook_records_total',
    'Records of webhooks that are done: delivered, undelivered (in the stream undelivered)', 'webhook', 'outcome'),
  webhookRepliesRefused: counter('webhook_replies_refused_total',
    'Answers of webhooks whose downlinks can not be sent', 'webhook'),
  webhookDeletedBlocks: counter('webhook_deleted_blocks_total',
    'Blocks that retention deleted before the webhook had taken them', 'webhook'),
  webhookSeconds: histogram('webhook_seconds',
    'From the request of a webhook until its answer', networkSeconds, 'webhook'),
  webhookLag: gauge('webhook_lag_seconds',
    'Age of the oldest record that this node has taken and not delivered; 0 for none', 'webhook'),

  appConnections: gauge('app_connections', 'Connections of each app; the default one has the empty name', 'app'),
  appUplinks: counter('app_uplinks_total', 'Uplinks of each app given to the ledger', 'app'),
  appDownlinks: counter('app_downlinks_total', 'Recipients named in requests to send, of each app', 'app'),
} as const

function counter<L extends string = never> (name: string, help: string, ...labels: L[]): Declared<L> {
  return { type: 'counter', name: `ledgerline_${name}`, help, labels }
}

function gauge<L extends string = never> (name: string, help: string, ...labels: L[]): Declared<L> {
  return { type: 'gauge', name: `ledgerline_${name}`, help, labels }
}

function histogram<L extends string = never> (
  name: string, help: string, buckets: readonly number[], ...labels: L[]
): Declared<L> {
  return { type: 'histogram', name: `ledgerline_${name}`, help, labels, buckets }
}
