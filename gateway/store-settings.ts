import {
  brokerList, hostName, integer, numbersOf, oneOf, onOff, pairs, path, pattern, redis, secret, setting, type Setting,
  url, urlWithoutLogin,
} from './setting.js'

/* Where the stores of a cluster are, and how a node is admitted to them. All roles and commands read the same. */

export const saslMechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER', 'AWS_MSK_IAM'] as const
export type SaslMechanismSetting = typeof saslMechanisms[number]

const streamNames = [
  'ledger', 'uplinks', 'connections', 'nodes', 'downlinks', 'rooms', 'posts', 'presence', 'receipts', 'offline',
  'undelivered',
] as const
/** The others have as many as the ledger. */
const ownPartitions = ['ledger', 'nodes', 'downlinks'] as const

export interface StoreConfig {
  readonly kafkaBrokers: readonly string[]
  /** Undefined: where something else of KAFKA_SSL is set, or the login is by AWS IAM. */
  readonly kafkaSsl: boolean | undefined
  readonly kafkaSslCaFile: string | undefined
  readonly kafkaSslCertFile: string | undefined
  readonly kafkaSslKeyFile: string | undefined
  readonly kafkaSslKeyPassword: string | undefined
  readonly kafkaSslServerName: string | undefined
  readonly kafkaSaslMechanism: SaslMechanismSetting | undefined
  readonly kafkaSaslUsername: string | undefined
  readonly kafkaSaslPassword: string | undefined
  readonly kafkaSaslPasswordFile: string | undefined
  readonly kafkaSaslTokenUrl: string | undefined
  readonly kafkaSaslTokenScope: string | undefined
  readonly kafkaSaslTokenFile: string | undefined
  readonly kafkaSaslExtensions: Readonly<Record<string, string>> | undefined
  readonly kafkaSaslAwsRegion: string | undefined
  /** Undefined: the node's id. */
  readonly kafkaClientId: string | undefined
  readonly kafkaConnectTimeoutMs: number
  readonly kafkaRequestTimeoutMs: number
  readonly kafkaGroupInstanceId: string | undefined
  readonly kafkaSessionTimeoutMs: number
  readonly kafkaTopics: 'create' | 'check'
  /** Of topics that are created; undefined: 3, or as many as there are brokers. */
  readonly kafkaReplicationFactor: number | undefined
  /** Of topics that are created; undefined: 2 where they have three replicas. */
  readonly kafkaMinInsyncReplicas: number | undefined
  readonly kafkaMessageBytesMax: number
  /** By stream, over LEDGERLINE_PARTITIONS and LEDGERLINE_RETENTION_MS. */
  readonly kafkaPartitions: Readonly<Partial<Record<string, number>>>
  readonly kafkaRetentionMs: Readonly<Partial<Record<string, number>>>
  readonly redisUrl: string | undefined
  readonly redisSslCaFile: string | undefined
  readonly redisSslCertFile: string | undefined
  readonly redisSslKeyFile: string | undefined
  readonly redisSslKeyPassword: string | undefined
  readonly redisSslServerName: string | undefined
  /** These are for those who can't have them in the URL. */
  readonly redisUsername: string | undefined
  readonly redisPassword: string | undefined
  readonly redisPasswordFile: string | undefined
  readonly redisSentinelUsername: string | undefined
  readonly redisSentinelPassword: string | undefined
  readonly redisSentinelPasswordFile: string | undefined
  readonly schemaRegistryUrl: string | undefined
  readonly schemaRegistrySslCaFile: string | undefined
  readonly schemaRegistrySslCertFile: string | undefined
  readonly schemaRegistrySslKeyFile: string | undefined
  readonly schemaRegistrySslKeyPassword: string | undefined
  readonly schemaRegistrySslServerName: string | undefined
  readonly schemaRegistryUsername: string | undefined
  readonly schemaRegistryPassword: string | undefined
  readonly schemaRegistryPasswordFile: string | undefined
}

const login = pattern('1 to 256 characters', /^.{1,256}$/s)

export const storeSettings: { readonly [K in keyof StoreConfig]-?: Setting<StoreConfig[K]> } = {
  kafkaBrokers: setting('KAFKA_BROKERS', '', brokerList(), 'brokers of the cluster\'s log, comma-separated'),
  kafkaSsl: setting('KAFKA_SSL', undefined, onOff(),
    'TLS to the brokers; by default true if one of KAFKA_SSL_... is set or the login is AWS_MSK_IAM, else false'),
  kafkaSslCaFile: setting('KAFKA_SSL_CA_FILE', undefined, path(), 'whom to trust: CA certificates in PEM'),
  kafkaSslCertFile: setting('KAFKA_SSL_CERT_FILE', undefined, path(), 'certificate of this client, PEM'),
  kafkaSslKeyFile: setting('KAFKA_SSL_KEY_FILE', undefined, path(), 'its private key, PEM'),
  kafkaSslKeyPassword: secret(setting('KAFKA_SSL_KEY_PASSWORD', undefined, login, 'password of the key\'s file')),
  kafkaSslServerName: setting('KAFKA_SSL_SERVER_NAME', undefined, hostName(),
    'whom the brokers\' certificates are for; by default the host of each'),
  kafkaSaslMechanism: setting('KAFKA_SASL_MECHANISM', undefined, oneOf(saslMechanisms), 'login to the brokers, none by default'),
  kafkaSaslUsername: setting('KAFKA_SASL_USERNAME', undefined, login, 'user; with a token URL the client id'),
  kafkaSaslPassword: secret(setting('KAFKA_SASL_PASSWORD', undefined, login, 'its password; with a token URL the client secret')),
  kafkaSaslPasswordFile: setting('KAFKA_SASL_PASSWORD_FILE', undefined, path(), 'file with the password, read at each login'),
  kafkaSaslTokenUrl: setting('KAFKA_SASL_TOKEN_URL', undefined, urlWithoutLogin('http', 'https'),
    'OAUTHBEARER: where tokens come from (OAuth 2 client credentials)'),
  kafkaSaslTokenScope: setting('KAFKA_SASL_TOKEN_SCOPE', undefined, login, 'OAUTHBEARER: scope to ask for'),
  kafkaSaslTokenFile: setting('KAFKA_SASL_TOKEN_FILE', undefined, path(), 'OAUTHBEARER: file with a token, read at each login'),
  kafkaSaslExtensions: setting('KAFKA_SASL_EXTENSIONS', undefined, pairs(),
    'OAUTHBEARER: what else the brokers want to know, NAME=VALUE,...'),
  kafkaSaslAwsRegion: setting('KAFKA_SASL_AWS_REGION', undefined, pattern('a region such as eu-west-1', /^[a-z\d-]{1,64}$/),
    'AWS_MSK_IAM: region of the brokers; by default AWS_REGION'),
  kafkaClientId: setting('KAFKA_CLIENT_ID', undefined, pattern('1 to 249 of letters, digits, ".", "_" and "-"', /^[\w.-]{1,249}$/),
    'what brokers know this client by (quotas, logs); by default the node id'),
  kafkaConnectTimeoutMs: setting('KAFKA_CONNECT_TIMEOUT_MS', '2000', integer(100, 60_000),
    'for a connection to a broker, and for each step of a login'),
  kafkaRequestTimeoutMs: setting('KAFKA_REQUEST_TIMEOUT_MS', '5000', integer(500, 60_000), 'for an append to be answered'),
  kafkaGroupInstanceId: setting('KAFKA_GROUP_INSTANCE_ID', undefined,
    pattern('1 to 249 of letters, digits, ".", "_" and "-", not "." or ".."', /^(?!\.{1,2}$)[\w.-]{1,249}$/),
    'of this node alone: groups know it again after a restart within KAFKA_SESSION_TIMEOUT_MS; none by default'),
  kafkaSessionTimeoutMs: setting('KAFKA_SESSION_TIMEOUT_MS', '6000', integer(1_000, 600_000),
    'a node that a group has not heard of for so long gives up its partitions'),
  kafkaTopics: setting('KAFKA_TOPICS', 'create', oneOf(['create', 'check']),
    'what a node does about missing topics: create them, or name them and not start'),
  kafkaReplicationFactor: setting('KAFKA_REPLICATION_FACTOR', undefined, integer(1, 32_767),
    'of topics that are created; by default 3, or as many as there are brokers'),
  kafkaMinInsyncReplicas: setting('KAFKA_MIN_INSYNC_REPLICAS', undefined, integer(1, 32_767),
    'of topics that are created; by default 2 if they have three replicas'),
  kafkaMessageBytesMax: setting('KAFKA_MESSAGE_BYTES_MAX', '8388608', integer(131_072, 1_073_741_824),
    'max.message.bytes of topics that are created'),
  kafkaPartitions: setting('KAFKA_PARTITIONS', '', numbersOf(ownPartitions, 1, 1_024),
    'partitions of single streams, STREAM=COUNT,...; the others have LEDGERLINE_PARTITIONS, and nodes has 1'),
  kafkaRetentionMs: setting('KAFKA_RETENTION_MS', '', numbersOf(streamNames, 1_000, 315_360_000_000),
    'how long single streams are kept, STREAM=MS,...; the others LEDGERLINE_RETENTION_MS'),
  redisUrl: secret(setting('REDIS_URL', undefined, redis(), 'tables and links of the cluster')),
  redisSslCaFile: setting('REDIS_SSL_CA_FILE', undefined, path(), 'with rediss: whom to trust, CA certificates in PEM'),
  redisSslCertFile: setting('REDIS_SSL_CERT_FILE', undefined, path(), 'with rediss: certificate of this client, PEM'),
  redisSslKeyFile: setting('REDIS_SSL_KEY_FILE', undefined, path(), 'its private key, PEM'),
  redisSslKeyPassword: secret(setting('REDIS_SSL_KEY_PASSWORD', undefined, login, 'password of the key\'s file')),
  redisSslServerName: setting('REDIS_SSL_SERVER_NAME', undefined, hostName(),
    'whom the certificates of Redis are for; by default the host of each'),
  redisUsername: setting('REDIS_USERNAME', undefined, login, 'ACL user, if it is not in the URL'),
  redisPassword: secret(setting('REDIS_PASSWORD', undefined, login, 'password, if it is not in the URL')),
  redisPasswordFile: setting('REDIS_PASSWORD_FILE', undefined, path(), 'file with it, read at start'),
  redisSentinelUsername: setting('REDIS_SENTINEL_USERNAME', undefined, login, 'ACL user of the sentinels'),
  redisSentinelPassword: secret(setting('REDIS_SENTINEL_PASSWORD', undefined, login, 'password of the sentinels')),
  redisSentinelPasswordFile: setting('REDIS_SENTINEL_PASSWORD_FILE', undefined, path(), 'file with it, read at start'),
  schemaRegistryUrl: secret(setting('SCHEMA_REGISTRY_URL', undefined, url('http', 'https'),
    'Confluent-compatible registry')),
  schemaRegistrySslCaFile: setting('SCHEMA_REGISTRY_SSL_CA_FILE', undefined, path(),
    'with https: whom to trust, CA certificates in PEM'),
  schemaRegistrySslCertFile: setting('SCHEMA_REGISTRY_SSL_CERT_FILE', undefined, path(), 'certificate of this client, PEM'),
  schemaRegistrySslKeyFile: setting('SCHEMA_REGISTRY_SSL_KEY_FILE', undefined, path(), 'its private key, PEM'),
  schemaRegistrySslKeyPassword: secret(setting('SCHEMA_REGISTRY_SSL_KEY_PASSWORD', undefined, login,
    'password of the key\'s file')),
  schemaRegistrySslServerName: setting('SCHEMA_REGISTRY_SSL_SERVER_NAME', undefined, hostName(),
    'whom the registry\'s certificate is for; by default its host'),
  schemaRegistryUsername: setting('SCHEMA_REGISTRY_USERNAME', undefined, login, 'user, or API key, if it is not in the URL'),
  schemaRegistryPassword: secret(setting('SCHEMA_REGISTRY_PASSWORD', undefined, login, 'its password, or API secret')),
  schemaRegistryPasswordFile: setting('SCHEMA_REGISTRY_PASSWORD_FILE', undefined, path(), 'file with it, read at start'),
}
