import { createRequire } from 'node:module'

/*
  What we use of kafkajs, and the one file that imports it: the codecs of Kafka's requests. They are no part of its
  public interface, so package.json pins the version, and `checkWire` (wire-check.ts) tries them when a log is opened.
  Its connections, producer and consumer are not used (docs/decisions/0008-kafka-without-its-consumer.md).
*/

/** One request of Kafka's protocol in one version. */
export interface Api<Question, Answer> {
  readonly name: string
  readonly key: number
  readonly version: number
  /** The body behind the request header. */
  encode (question: Question): Promise<Buffer> | Buffer
  /** @throws when `bytes` are not such an answer */
  decode (bytes: Buffer): Promise<Answer> | Answer
}

/** How long the broker that gave this answer wants no other request on the connection. */
export function throttleMsOf (answer: unknown): number {
  const { throttleMs, clientSideThrottleTime } = answer as { throttleMs?: number, clientSideThrottleTime?: number }
  return throttleMs ?? clientSideThrottleTime ?? 0
}

interface KafkajsMessage {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    encode (): Promise<{ readonly buffer: Buffer }>
  }
  readonly response: { decode (bytes: Buffer): Promise<any> }
}

interface KafkajsRequests {
  readonly [name: string]: { protocol (of: { version: number }): ((question: any) => KafkajsMessage) | undefined }
}

const require = createRequire(import.meta.url)
const { requests } = internal<{ requests: KafkajsRequests }>('protocol/requests')
const apiKeys = internal<Readonly<Record<string, number>>>('protocol/requests/apiKeys')
const { errorCodes } = internal<{
  errorCodes: ReadonlyArray<{ readonly type: string, readonly code: number }>
}>('protocol/error')

/** What a member tells its group, and what the group's leader tells a member. */
export const { MemberMetadata: memberMetadata, MemberAssignment: memberAssignment } = internal<{
  MemberMetadata: {
    encode (of: { version: number, topics: readonly string[], userData: Buffer }): Buffer
    decode (bytes: Buffer): { topics: string[], userData: Buffer | null }
  }
  MemberAssignment: {
    encode (of: { version: number, assignment: Record<string, readonly number[]>, userData: Buffer }): Buffer
    /** null for no bytes */
    decode (bytes: Buffer): { assignment: Record<string, number[]>, userData: Buffer | null } | null
  }
}>('consumer/assignerProtocol')

function internal<T> (path: string): T {
  try {
    return require(`kafkajs/src/${path}`) as T
  } catch (cause) {
    throw otherKafkajs(`it has no src/${path}`, cause)
  }
}

/** @param what is other than we know it */
export function otherKafkajs (what: string, cause?: unknown): Error {
  const { version } = require('kafkajs/package.json') as { version: string }
  return new Error(`kafkajs ${version}: ${what}. Install the one that package-lock.json names: npm ci`, { cause })
}

/** What logs in (RFC 4616, 5802, 7628); each takes what kafkajs calls `sasl`, and what sends. */
export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER'

interface SaslStep {
  readonly request: { encode (): Promise<Buffer> }
  /** Absent where the answer says nothing. */
  readonly response?: { decode (bytes: Buffer): Promise<any>, parse (decoded: any): Promise<any> }
}

type Authenticator = (sasl: object) => (of: {
  readonly host: string
  readonly port: number
  readonly logger: { debug (): void, error (): void }
  saslAuthenticate (step: SaslStep): Promise<unknown>
}) => { authenticate (): Promise<void> }

export const authenticators: Readonly<Record<SaslMechanism, Authenticator>> = {
  PLAIN: internal('broker/saslAuthenticator/plain'),
  'SCRAM-SHA-256': internal('broker/saslAuthenticator/scram256'),
  'SCRAM-SHA-512': internal('broker/saslAuthenticator/scram512'),
  OAUTHBEARER: internal('broker/saslAuthenticator/oauthBearer'),
}

const names = new Map(errorCodes.map(({ code, type }) => [code, type]))

/** Kafka's name for an error, as in its protocol guide. */
export function errorName (code: number): string { return names.get(code) ?? `error ${code}` }

/** An answer that says no. */
export class KafkaError extends Error {
  override readonly name = 'KafkaError'
  constructor (readonly code: number, what: string) { super(`${what}: ${errorName(code)}`) }
}

/** @throws KafkaError unless the code is 0 */
export function check ({ errorCode }: { readonly errorCode: number }, what: string): void {
  if (errorCode !== 0) throw new KafkaError(errorCode, what)
}

interface Failable { readonly errorCode: number }
interface OfTopic<Partition> { readonly topic: string, readonly partitions: readonly Partition[] }

export interface Metadata {
  readonly brokers: ReadonlyArray<{ readonly nodeId: number, readonly host: string, readonly port: number }>
  readonly clusterId: string
  readonly controllerId: number
  readonly topicMetadata: ReadonlyArray<{
    readonly topicErrorCode: number
    readonly topic: string
    /** What tells a topic from another one of its name; empty where the broker, older than 2.8, has none. */
    readonly topicId?: string
    /** What this user may do, a bit for each operation; absent where the broker does not tell, or was not asked. */
    readonly operations?: number
    readonly partitionMetadata: ReadonlyArray<{
      readonly partitionId: number
      readonly leader: number
      /** Grows with each election. */
      readonly leaderEpoch?: number
      /** How many brokers are to have it. */
      readonly replicas?: number
    }>
  }>
}

export interface NewTopic {
  readonly topic: string
  readonly numPartitions: number
  readonly replicationFactor: number
  readonly configEntries: ReadonlyArray<{ readonly name: string, readonly value: string }>
}

interface Join {
  readonly groupId: string
  readonly sessionTimeout: number
  readonly rebalanceTimeout: number
  readonly memberId: string
  readonly protocolType: 'consumer'
  /** By which the group knows the member again after a restart (KIP-345), as in the next two. */
  readonly groupInstanceId?: string | undefined
  readonly groupProtocols: ReadonlyArray<{ readonly name: string, readonly metadata: Buffer }>
}

interface Joined extends Failable {
  readonly generationId: number
  readonly leaderId: string
  readonly memberId: string
  readonly members: ReadonlyArray<{ readonly memberId: string, readonly memberMetadata: Buffer }>
}

interface Sync {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId?: string | undefined
  readonly groupAssignment: ReadonlyArray<{ readonly memberId: string, readonly memberAssignment: Buffer }>
}

export interface Offered { readonly apiKey: number, readonly minVersion: number, readonly maxVersion: number }

export const apiVersions = api<object, Failable & { readonly apiVersions: readonly Offered[] }>('ApiVersions', 0)

/** Of `saslHandshake`: the answer names those that are supported. */
export const unsupportedMechanism = 33

export const saslHandshake = api<
  { mechanism: string }, Failable & { readonly enabledMechanisms: readonly string[] }
>('SaslHandshake', 1)

/** The bytes of the answer have their length before them; the session is given in ms, 0 where it does not end. */
export const saslAuthenticate = api<{ authBytes: Buffer }, Failable & {
  readonly errorMessage: string | null
  readonly authBytes: Buffer
  readonly sessionLifetimeMs: string
}>('SaslAuthenticate', 1)

/** Of topics alone, whose type is 2. */
export const describeConfigs = api<
  { resources: ReadonlyArray<{ type: 2, name: string, configNames: readonly string[] }>, includeSynonyms: false },
  {
    readonly resources: ReadonlyArray<Failable & {
      readonly resourceName: string
      readonly configEntries: ReadonlyArray<{ readonly configName: string, readonly configValue: string | null }>
    }>
  }
>('DescribeConfigs', 2)

export const createTopics = api<
  { topics: readonly NewTopic[], timeout: number },
  { readonly topicErrors: ReadonlyArray<Failable & { readonly topic: string, readonly errorMessage: string | null }> }
>('CreateTopics', 3)

/**
 * `timestamp` -2 asks for the first offset kept, -1 for the one that comes next; any other, ms since 1970, for that of
 * the first record at or after it, which is -1 where there is none.
 */
export const listOffsets = api<
  { topics: ReadonlyArray<OfTopic<{ partition: number, timestamp: number }>> },
  {
    /** With the time of the record that was found; -1 for an end. */
    readonly responses: ReadonlyArray<OfTopic<Failable & {
      readonly partition: number
      readonly timestamp: string
      readonly offset: string
    }>>
  }
>('ListOffsets', 3)

/** Deletes what stands before `offset`, which does nothing where that is gone already. */
export const deleteRecords = api<
  { topics: ReadonlyArray<OfTopic<{ partition: number, offset: string }>>, timeout: number },
  { readonly topics: ReadonlyArray<OfTopic<Failable & { readonly partition: number }>> }
>('DeleteRecords', 1)

/** `coordinatorType` 0 asks for that of a group, 1 for that of a transactional id, which `groupId` is then. */
export const findCoordinator = api<
  { groupId: string, coordinatorType: 0 | 1 }, Failable & { readonly coordinator: { readonly nodeId: number } }
>('GroupCoordinator', 2)
export const joinGroup = api<Join, Joined>('JoinGroup', 5)
export const syncGroup = api<Sync, Failable & { readonly memberAssignment: Buffer }>('SyncGroup', 3)
export const heartbeat = api<
  { groupId: string, groupGenerationId: number, memberId: string, groupInstanceId?: string | undefined }, Failable
>('Heartbeat', 3)
export const leaveGroup = api<{ groupId: string, memberId: string }, Failable>('LeaveGroup', 3)

export const offsetCommit = api<
  {
    groupId: string
    groupGenerationId: number
    memberId: string
    topics: ReadonlyArray<OfTopic<{ partition: number, offset: string, metadata?: string }>>
  },
  { readonly responses: ReadonlyArray<OfTopic<Failable & { readonly partition: number }>> }
>('OffsetCommit', 5)

export interface FetchedOffset extends Failable {
  readonly partition: number
  readonly offset: string
  readonly metadata: string | null
}

export const offsetFetch = api<
  { groupId: string, topics: ReadonlyArray<OfTopic<{ partition: number }>> },
  Failable & { readonly responses: ReadonlyArray<OfTopic<FetchedOffset>> }
>('OffsetFetch', 4)

/** Of the groups that this broker coordinates, those that this user may describe. */
export const listGroups = api<object, Failable & { readonly groups: ReadonlyArray<{ readonly groupId: string }> }>(
  'ListGroups', 2
)
export const describeGroups = api<
  { readonly groupIds: readonly string[] },
  {
    readonly groups: ReadonlyArray<Failable & {
      readonly groupId: string
      readonly state: string
      readonly members: ReadonlyArray<{ readonly clientId: string, readonly memberAssignment: Buffer }>
    }>
  }
>('DescribeGroups', 2)
/** The question is the ids. */
export const deleteGroups = api<
  readonly string[], { readonly results: ReadonlyArray<Failable & { readonly groupId: string }> }
>('DeleteGroups', 1)

export const initProducerId = api<
  { transactionalId: null, transactionTimeout: number },
  Failable & { readonly producerId: string, readonly producerEpoch: number }
>('InitProducerId', 1)

export const initTransactions = api<
  { transactionalId: string, transactionTimeout: number },
  Failable & { readonly producerId: string, readonly producerEpoch: number }
>('InitProducerId', 1)

interface Transaction {
  readonly transactionalId: string
  readonly producerId: string
  readonly producerEpoch: number
}

export const addPartitionsToTxn = api<
  Transaction & { topics: ReadonlyArray<OfTopic<number>> },
  { readonly errors: ReadonlyArray<{ readonly partitionErrors: readonly Failable[] }> }
>('AddPartitionsToTxn', 1)

/** `transactionResult` true commits, false aborts. */
export const endTxn = api<Transaction & { transactionResult: boolean }, Failable>('EndTxn', 1)

export function apiKey (name: string): number { return apiKeys[name]! }

function api<Question, Answer> (name: string, version: number): Api<Question, Answer> {
  const { message, response } = messageOf(name, version)
  return {
    name,
    key: apiKey(name),
    version,
    encode: async question => (await message(question).request.encode()).buffer,
    decode: bytes => response.decode(bytes),
  }
}

function messageOf (name: string, version: number) {
  try {
    const message = requests[name]!.protocol({ version })!
    const { request, response } = message({ topics: [], members: [], groupProtocols: [], groupAssignment: [] })
    if (request.apiKey !== apiKey(name) || request.apiVersion !== version) {
      throw new Error(`got version ${request.apiVersion} of request ${request.apiKey}`)
    }
    return { message, response }
  } catch (cause) {
    throw otherKafkajs(`it does not make version ${version} of ${name} (${(cause as Error).message})`, cause)
  }
}
