import { hostname } from 'node:os'
import {
  allOrSomeOf, directory, headerList, integer, keyList, names, networkList, ofMachine,
  offOr, oneOf, onOff, originList, path, pattern, ratio, secret, setting, type Setting, someOf,
  tokenSecret, url, urlWithoutLogin,
} from './setting.js'
import { authSecrets } from './auth/setting.js'
import { offlineAfterMsMax } from './downlink-command.js'
import { isUserClaim, userClaimWanted } from './issuers.js'
import { type StoreConfig, storeSettings } from './store-settings.js'

/** What one node runs with; read once at start, never changed (docs/operations.md). */
export interface Config extends StoreConfig {
  /** Absolute. */
  readonly dataDir: string
  readonly host: string
  /** 0 picks a free port. */
  readonly httpPort: number
  readonly tcpPort: number
  readonly apiHost: string
  /** Of a listener of its own for all routes that want an API key; undefined: they are on the HTTP port. */
  readonly apiPort: number | undefined
  /** There `/metrics` wants none. */
  readonly metricsOpen: boolean
  readonly metricsHost: string
  /** Of a listener of its own for `/metrics`, which wants no key there; undefined: none. */
  readonly metricsPort: number | undefined
  readonly nodeId: string
  readonly region: string
  readonly roles: readonly Role[]
  /** Files, PEM: with a certificate both listeners speak TLS. */
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  readonly tlsKeyPassword: string | undefined
  /** Whoever has an API key must show a certificate of one of these, too. */
  readonly tlsClientCa: string | undefined
  /** Addresses and networks of the proxies in front, who say whose the connections are that they hand on. */
  readonly trustedProxies: readonly string[]
  /** What ip-config hands to clients; undefined: made from the listeners. */
  readonly publicWsUrl: string | undefined
  readonly publicTcpUrl: string | undefined
  /** Of whose pages browsers may use the gateway, see `originPattern`; undefined: of its own and of this machine. */
  readonly allowedOrigins: readonly string[] | undefined
  /** At most one of the two; `ensureSecrets` fills in a secret where neither is set, nor issuers, nor `authUrl`. */
  readonly jwtSecret: string | undefined
  readonly jwksUrl: string | undefined
  /** What the `iss` of a token must be one of; empty: tokens of anybody, and without one. */
  readonly jwtIssuer: readonly string[]
  /** What the `aud` of a token must be one of, or have one of in it; empty: tokens of any audience. */
  readonly jwtAudience: readonly string[]
  /** The claim that says who the user is; undefined: `sub`. */
  readonly jwtUserClaim: string | undefined
  /** In place of the five above, several issuers: JSON, or the path of a file (issuers.ts). */
  readonly jwtIssuers: string | undefined
  /** Who is asked about tokens that are of no issuer here, how that is signed, and questions at the same time. */
  readonly authUrl: string | undefined
  readonly authSecret: readonly string[] | undefined
  readonly authConcurrency: number
  /** Apps beside the default one: JSON, or the path of a file (apps.ts). */
  readonly apps: string | undefined
  /** Where records of streams are posted to: JSON, or the path of a file (webhooks/setting.ts). */
  readonly webhooks: string | undefined
  /** By how much the clocks of those who issue tokens may differ from ours. */
  readonly clockToleranceMs: number
  /** Good for everything. Empty until `ensureSecrets` where neither they nor a file are set. */
  readonly apiKeys: readonly string[]
  /** Keys with scopes and quotas; with it no key is generated. */
  readonly apiKeysFile: string | undefined
  readonly loginPolicy: LoginPolicy
  readonly heartbeatMs: number
  /** The longest silence that a client is given which says that it means to be silent. */
  readonly silenceMaxMs: number
  readonly frameBytesMax: number
  readonly uplinkWindow: number
  /** Unacked downlinks of one session, all their fields counted. */
  readonly outboxBytesMax: number
  /** Streams for business services that are not written. */
  readonly streamsOff: readonly OptionalStream[]
  /** How long a device may be away before the stream `presence` says that it is offline. */
  readonly presenceGraceMs: number
  /** After which a downlink that no device has acked goes to the stream `offline`; 0 for never. */
  readonly offlineAfterMs: number
  readonly connectionsMax: number
  /** Rooms of one connection. */
  readonly roomsMax: number
  /** After which a room that nobody uses lets go of its last posts; 0 for never. */
  readonly roomSilenceMs: number
  /** Frames a second and burst of one connection, accepts a second of one IP address; 0 for no limit. */
  readonly frameRate: number
  readonly frameBurst: number
  readonly acceptRate: number
  /** Accepts a second of all addresses together; 0 for no limit. */
  readonly acceptRateTotal: number
  /** Addresses and networks that have no rate of their own. */
  readonly acceptUncounted: readonly string[]
  /** Bytes a second and burst of one connection, bytes a second of one user on this node; 0 for no limit. */
  readonly byteRate: number
  readonly byteBurst: number
  readonly userByteRate: number
  /** Frames a second of one user on this node; 0 for no limit, undefined for four times that of a connection. */
  readonly userFrameRate: number | undefined
  /** Bytes a second that a frame which has begun must bring; 0 for none. */
  readonly byteRateMin: number
  /** Bytes read from sockets and not dealt with, of all connections of this node. */
  readonly intakeBytesMax: number
  /** The mean wait of uplinks for the process above which some are refused; 0 for none. */
  readonly overloadWaitMs: number
  /** What this process may use; 0: what its container allows, or the machine has. */
  readonly memoryBytesMax: number
  /** How long the embedded log keeps each stream; 0 for ever. */
  readonly retentionMs: number
  /** How many bytes of each stream it keeps; 0 for no bound, undefined for a share of the disk. */
  readonly retentionBytes: number | undefined
  readonly topicPrefix: string
  /** Of each stream that this node creates; a stream keeps the count that it was created with. */
  readonly partitions: number
  /** A node that has not reported for this long is lost. */
  readonly leaseMs: number
  /** How long an edge that stops may take to move its connections to others; 0 closes them at once. */
  readonly drainMs: number
  /** How long a node that stops, and that others can stand in for, goes on answering while `/readyz` says no. */
  readonly stopGraceMs: number
  /** Age at which a connection is asked to move, a fifth more or less; 0 for none. */
  readonly connectionAgeMaxMs: number
  /** Of a collector of OpenTelemetry, without the path; undefined: nothing is traced. */
  readonly otlpEndpoint: string | undefined
  readonly otlpHeaders: Readonly<Record<string, string>> | undefined
  readonly otelServiceName: string
  /** Share of the messages that are traced, besides those that a request's own trace leads to; 0 to 1. */
  readonly traceRatio: number
  /** All of their messages are traced. */
  readonly traceUsers: readonly string[]
}

export const roles = ['edge', 'users', 'push', 'ip-config', 'projections', 'console', 'webhooks'] as const
export type Role = typeof roles[number]
/** A process that is all of a gateway may go without them. */
export const optionalRoles: readonly Role[] = ['console', 'webhooks']

export const optionalStreams = ['presence', 'receipts', 'offline'] as const
export type OptionalStream = typeof optionalStreams[number]

export const loginPolicies = ['device', 'platform', 'user', 'none'] as const
export type LoginPolicy = typeof loginPolicies[number]

const listenAddress = pattern('a host name or an IP address', /^[\w.:%-]{1,255}$/)

const name64 = pattern('1 to 64 of letters, digits, ".", "_" and "-"', /^[\w.-]{1,64}$/)

/** Every setting, in the order that `--help` and docs/configuration.md name them. */
export const settings: { readonly [K in keyof Config]-?: Setting<Config[K]> } = {
  dataDir: setting('DATA', './data', directory(), 'directory of the embedded log, tables and generated secrets'),
  host: setting('HOST', '127.0.0.1', listenAddress, 'address to listen on'),
  httpPort: setting('HTTP_PORT', '8080', integer(0, 65_535), 'port of HTTP and WebSocket; 0 picks a free one'),
  tcpPort: setting('TCP_PORT', '9100', integer(0, 65_535), 'port of raw TCP; 0 picks a free one'),
  apiHost: setting('API_HOST', '127.0.0.1', listenAddress, 'address of the API port'),
  apiPort: setting('API_PORT', undefined, integer(0, 65_535),
    'separate port for all routes that need an API key, which the HTTP port then lacks; 0 picks a free one'),
  metricsOpen: setting('METRICS_OPEN', 'false', onOff(), '/metrics needs no key on the API port'),
  metricsHost: setting('METRICS_HOST', '127.0.0.1', listenAddress, 'address of the port of metrics'),
  metricsPort: setting('METRICS_PORT', undefined, integer(0, 65_535),
    'separate port for /metrics, which needs no key there; 0 picks a free one'),
  tlsCert: setting('TLS_CERT', undefined, path(),
    'certificate of all listeners, PEM, with its intermediate certificates: they then speak TLS'),
  tlsKey: setting('TLS_KEY', undefined, path(), 'its private key, PEM'),
  tlsKeyPassword: secret(setting('TLS_KEY_PASSWORD', undefined, pattern('1 to 256 characters', /^.{1,256}$/s),
    'password of the key\'s file')),
  tlsClientCa: setting('TLS_CLIENT_CA', undefined, path(),
    'CA certificates, PEM: requests with an API key need a client certificate of one of them, too'),
  trustedProxies: setting('TRUSTED_PROXIES', '', networkList(),
    'addresses and networks of proxies in front, which tell by PROXY or Forwarded whose a connection is'),
  nodeId: ofMachine(setting('NODE_ID', hostNodeId(), name64, 'name of this node, unique in the cluster'), 'the host name'),
  region: setting('REGION', 'local', name64, 'region of this node; ip-config prefers the client\'s own'),
  roles: setting('ROLES', 'all', allOrSomeOf(roles), 'what this node does, comma-separated'),
  publicWsUrl: setting('PUBLIC_WS_URL', undefined, urlWithoutLogin('ws', 'wss'), 'what ip-config hands to WebSocket clients'),
  publicTcpUrl: setting('PUBLIC_TCP_URL', undefined, urlWithoutLogin('tcp', 'tls'), 'what ip-config hands to TCP clients'),
  allowedOrigins: setting('ALLOWED_ORIGINS', undefined, originList(),
    'origins whose pages may use the gateway besides its own, comma-separated, or * for all; by default those of localhost'),
  jwtSecret: secret(setting('JWT_SECRET', undefined, tokenSecret(),
    'HS256 secret of client tokens; generated if neither it nor the JWKS URL is set')),
  jwksUrl: setting('JWKS_URL', undefined, urlWithoutLogin('http', 'https'), 'keys of client tokens: RS256, ES256 or EdDSA'),
  jwtIssuer: setting('JWT_ISSUER', '', names(), 'wanted iss of client tokens, comma-separated: one of them'),
  jwtAudience: setting('JWT_AUDIENCE', '', names(), 'wanted aud of client tokens, comma-separated: one of them'),
  jwtUserClaim: setting('JWT_USER_CLAIM', undefined, { want: userClaimWanted, parse: text => isUserClaim(text) ? text : undefined },
    'claim of client tokens that is the user id, "sub" by default'),
  jwtIssuers: secret(setting('JWT_ISSUERS', undefined, { want: 'a JSON array of issuers, or the path of a file with one', parse: text => text },
    'several issuers of client tokens, JSON or a file, instead of the five settings before')),
  authUrl: setting('AUTH_URL', undefined, urlWithoutLogin('http', 'https'),
    'service that is asked whose a token is, if no issuer here has signed it'),
  authSecret: secret(setting('AUTH_SECRET', undefined, authSecrets(), 'signs the questions to that service, as webhooks are signed')),
  authConcurrency: setting('AUTH_CONCURRENCY', '64', integer(1, 1_024), 'questions to that service at the same time'),
  apps: secret(setting('APPS', undefined, { want: 'a JSON array of apps, or the path of a file with one', parse: text => text },
    'apps with their own users, tokens, API keys and quotas, JSON or a file')),
  webhooks: secret(setting('WEBHOOKS', undefined, { want: 'a JSON array of webhooks, or the path of a file with one', parse: text => text },
    'where records of streams are posted to, JSON or a file')),
  clockToleranceMs: setting('CLOCK_TOLERANCE_MS', '30000', integer(0, 600_000),
    'how far the clocks of token issuers may differ'),
  apiKeys: secret(setting('API_KEYS', '', keyList(), 'keys that may do everything; one is generated if neither they nor a file are set')),
  apiKeysFile: setting('API_KEYS_FILE', undefined, path(),
    'file of API keys with scopes, as `ledgerline keys` makes it'),
  loginPolicy: setting('LOGIN_POLICY', 'device', oneOf(loginPolicies), 'what may have one open connection at a time'),
  heartbeatMs: setting('HEARTBEAT_MS', '45000', integer(100, 3_600_000), 'a client silent for so long sends a ping'),
  silenceMaxMs: setting('SILENCE_MAX_MS', '1800000', integer(1_000, 86_400_000),
    'longest silence of a client that says how long it means to be silent'),
  // Two of the largest frames fit into the write queue of 1 MiB.
  frameBytesMax: setting('FRAME_BYTES_MAX', '65536', integer(256, 524_288), 'largest frame, opcode and body'),
  uplinkWindow: setting('UPLINK_WINDOW', '256', integer(1, 4_096), 'unacknowledged uplinks of one connection'),
  // At least one of the largest downlinks, with all that can stand beside its payload, fits into an outbox.
  outboxBytesMax: setting('OUTBOX_BYTES_MAX', '8388608', integer(1_048_576, 1_073_741_824),
    'bytes of unacknowledged downlinks of one session'),
  streamsOff: setting('STREAMS_OFF', '', someOf(optionalStreams), 'streams that are not written, comma-separated'),
  presenceGraceMs: setting('PRESENCE_GRACE_MS', '0', integer(0, 3_600_000),
    'how long a device may be away before the stream presence says that it is offline'),
  offlineAfterMs: setting('OFFLINE_AFTER_MS', '0', integer(0, offlineAfterMsMax),
    'how long after its request a downlink that no device has acked goes to the stream offline; 0 for never'),
  connectionsMax: setting('CONNECTIONS_MAX', '15000', integer(1, 1_000_000), 'connections of this node'),
  roomsMax: setting('ROOMS_MAX', '100', integer(1, 10_000), 'rooms of one connection'),
  roomSilenceMs: setting('ROOM_SILENCE_MS', '2592000000', offOr(86_400_000, 315_360_000_000),
    'how long after its last use a room lets go of its last posts; 0 for never'),
  frameRate: setting('FRAME_RATE', '100', integer(0, 1_000_000), 'frames a second of one connection; 0 for no limit'),
  frameBurst: setting('FRAME_BURST', '200', integer(0, 1_000_000), 'frames at once of one connection; 0 for no limit'),
  acceptRate: setting('ACCEPT_RATE', '200', integer(0, 1_000_000), 'accepts a second of one address; 0 for no limit'),
  acceptRateTotal: setting('ACCEPT_RATE_TOTAL', '0', integer(0, 1_000_000),
    'accepts a second of all addresses together; 0 for no limit'),
  acceptUncounted: setting('ACCEPT_UNCOUNTED', '', networkList(),
    'addresses and networks whose accepts are not counted by address'),
  byteRate: setting('BYTE_RATE', '1048576', integer(0, 2 ** 30), 'bytes a second of one connection; 0 for no limit'),
  byteBurst: setting('BYTE_BURST', '4194304', integer(0, 2 ** 30), 'bytes at once of one connection; 0 for no limit'),
  userByteRate: setting('USER_BYTE_RATE', '4194304', integer(0, 2 ** 28),
    'bytes a second of one user on this node; 0 for no limit'),
  userFrameRate: setting('USER_FRAME_RATE', undefined, integer(0, 1_000_000),
    'frames a second of one user on this node; 0 for no limit, by default four times FRAME_RATE'),
  byteRateMin: setting('BYTE_RATE_MIN', '512', integer(0, 4_096),
    'bytes a second that a frame which has begun must bring, after its first 10 s; 0 for none'),
  intakeBytesMax: setting('INTAKE_BYTES_MAX', '8388608', integer(1 << 20, 2 ** 40),
    'bytes read from clients and not processed yet, of this node'),
  overloadWaitMs: setting('OVERLOAD_WAIT_MS', '20', integer(0, 60_000),
    'mean wait of uplinks between read and fold above which those of low priority are refused; 0 for no limit'),
  memoryBytesMax: setting('MEMORY_BYTES_MAX', '0', integer(0, 2 ** 46),
    'memory that this process may use; 0 for what its container allows, or the machine has'),
  retentionMs: setting('RETENTION_MS', '604800000', integer(0, 315_360_000_000),
    'how long the embedded log keeps a stream; 0 for ever'),
  retentionBytes: setting('RETENTION_BYTES', undefined, integer(0, Number.MAX_SAFE_INTEGER),
    'how many bytes of a stream the embedded log keeps; 0 for no bound, by default a share of the disk'),
  ...storeSettings,
  topicPrefix: setting('TOPIC_PREFIX', 'ledgerline',
    pattern('1 to 100 of letters, digits, "." and "-"', /^[a-z0-9.-]{1,100}$/i), 'Kafka topics are named PREFIX.STREAM'),
  partitions: setting('PARTITIONS', '8', integer(1, 1_024), 'partitions of a stream that does not exist yet'),
  leaseMs: setting('LEASE_MS', '15000', integer(600, 600_000), 'a node that has not reported for so long is lost'),
  drainMs: setting('DRAIN_MS', '20000', integer(0, 3_600_000),
    'how long an edge that stops may take to move its connections; 0 closes them'),
  stopGraceMs: setting('STOP_GRACE_MS', '5000', integer(0, 600_000),
    'how long a node that stops goes on answering while /readyz says no, if other nodes can take over'),
  connectionAgeMaxMs: setting('CONNECTION_AGE_MAX_MS', '0', integer(0, 31_536_000_000),
    'age at which a connection is asked to move, a fifth more or less; 0 for none'),
  otlpEndpoint: setting('OTEL_EXPORTER_OTLP_ENDPOINT', undefined, url('http', 'https'),
    'collector of OpenTelemetry that spans of messages go to, over HTTP'),
  otlpHeaders: secret(setting('OTEL_EXPORTER_OTLP_HEADERS', undefined, headerList(), 'headers for it, as name=value,...')),
  otelServiceName: setting('OTEL_SERVICE_NAME', 'ledgerline', pattern('1 to 200 characters', /^.{1,200}$/),
    'service name of the gateway in spans'),
  traceRatio: setting('TRACE_RATIO', '0', ratio(), 'share of messages that are traced, 0 to 1'),
  traceUsers: setting('TRACE_USERS', '', names(), 'users whose messages are all traced'),
}

function hostNodeId (): string {
  return hostname().replace(/[^\w.-]/g, '-').slice(0, 64) || 'node'
}
