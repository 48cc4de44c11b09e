import { isDeepStrictEqual } from 'node:util'
import * as wire from './wire.js'
import { memberAssignment, memberMetadata, otherKafkajs, type Api } from './wire.js'

interface Sample {
  readonly api: Api<any, any>
  readonly question: object
  /** What the protocol has for the question, in hex. */
  readonly asked: string
  /** An answer, in hex, and what we read of it. */
  readonly answer: string
  readonly told: object
}

const x = Buffer.from('x')
const group = { groupId: 'g', groupGenerationId: 4, memberId: 'm' }

/** One of each request that kafkajs encodes for us: https://kafka.apache.org/protocol#protocol_messages */
const samples: readonly Sample[] = [
  {
    api: wire.apiVersions,
    question: {},
    asked: '',
    answer: '0000' + '00000001' + '0003' + '0000' + '000c',
    told: { errorCode: 0, apiVersions: [{ apiKey: 3, minVersion: 0, maxVersion: 12 }] },
  },
  {
    api: wire.saslHandshake,
    question: { mechanism: 'P' },
    asked: '000150',
    answer: '0021' + '00000001' + '000150',
    told: { errorCode: 33, enabledMechanisms: ['P'] },
  },
  {
    api: wire.saslAuthenticate,
    question: { authBytes: Buffer.from('0000000178', 'hex') },
    asked: '0000000178',
    answer: '003a' + '00016d' + '0000000178' + '0000000000000006',
    told: { errorCode: 58, errorMessage: 'm', authBytes: Buffer.from('0000000178', 'hex'), sessionLifetimeMs: '6' },
  },
  {
    api: wire.createTopics,
    question: {
      topics: [{ topic: 't', numPartitions: 8, replicationFactor: 3, configEntries: [{ name: 'n', value: 'v' }] }],
      timeout: 9,
    },
    asked: '00000001' + '000174' + '00000008' + '0003' + '00000000' + '00000001' + '00016e' + '000176' + '00000009' + '00',
    answer: '00000000' + '00000001' + '000174' + '0024' + '00016d',
    told: { topicErrors: [{ topic: 't', errorCode: 36, errorMessage: 'm' }] },
  },
  {
    api: wire.listOffsets,
    question: { topics: [{ topic: 't', partitions: [{ partition: 5, timestamp: -2 }] }] },
    asked: 'ffffffff' + '01' + '00000001' + '000174' + '00000001' + '00000005' + 'fffffffffffffffe',
    answer: '00000000' + '00000001' + '000174' + '00000001' + '00000005' + '0006' + 'ffffffffffffffff' + '0000000000000007',
    told: { responses: [{ topic: 't', partitions: [{ partition: 5, errorCode: 6, timestamp: '-1', offset: '7' }] }] },
  },
  {
    api: wire.deleteRecords,
    question: { topics: [{ topic: 't', partitions: [{ partition: 5, offset: '6' }] }], timeout: 9 },
    asked: '00000001' + '000174' + '00000001' + '00000005' + '0000000000000006' + '00000009',
    answer: '00000000' + '00000001' + '000174' + '00000001' + '00000005' + '0000000000000006' + '001d',
    told: { topics: [{ topic: 't', partitions: [{ partition: 5, errorCode: 29 }] }] },
  },
  {
    api: wire.findCoordinator,
    question: { groupId: 'g', coordinatorType: 1 },
    asked: '000167' + '01',
    answer: '00000000' + '000f' + 'ffff' + '00000002' + '000168' + '00002384',
    told: { errorCode: 15, coordinator: { nodeId: 2 } },
  },
  {
    api: wire.initTransactions,
    question: { transactionalId: 't', transactionTimeout: 9 },
    asked: '000174' + '00000009',
    answer: '00000000' + '0000' + '0000000000000007' + '0003',
    told: { errorCode: 0, producerId: '7', producerEpoch: 3 },
  },
  {
    api: wire.addPartitionsToTxn,
    question: {
      transactionalId: 't', producerId: '7', producerEpoch: 3, topics: [{ topic: 'u', partitions: [5] }],
    },
    asked: '000174' + '0000000000000007' + '0003' + '00000001' + '000175' + '00000001' + '00000005',
    answer: '00000000' + '00000001' + '000175' + '00000001' + '00000005' + '0033',
    told: { errors: [{ partitionErrors: [{ errorCode: 51 }] }] },
  },
  {
    api: wire.endTxn,
    question: { transactionalId: 't', producerId: '7', producerEpoch: 3, transactionResult: true },
    asked: '000174' + '0000000000000007' + '0003' + '01',
    answer: '00000000' + '0030',
    told: { errorCode: 48 },
  },
  {
    api: wire.joinGroup,
    question: {
      groupId: 'g',
      sessionTimeout: 6,
      rebalanceTimeout: 7,
      memberId: 'm',
      protocolType: 'consumer',
      groupProtocols: [{ name: 'p', metadata: x }],
    },
    asked: '000167' + '00000006' + '00000007' + '00016d' + 'ffff' + '0008636f6e73756d6572' + '00000001' + '000170' +
      '0000000178',
    answer: '00000000' + '004f' + '00000004' + '000170' + '00016c' + '00016d' + '00000001' + '00016d' + 'ffff' + '0000000178',
    told: {
      errorCode: 79, generationId: 4, leaderId: 'l', memberId: 'm', members: [{ memberId: 'm', memberMetadata: x }],
    },
  },
  {
    api: wire.syncGroup,
    question: {
      groupId: 'g', generationId: 4, memberId: 'm', groupAssignment: [{ memberId: 'm', memberAssignment: x }],
    },
    asked: '000167' + '00000004' + '00016d' + 'ffff' + '00000001' + '00016d' + '0000000178',
    answer: '00000000' + '001b' + '0000000178',
    told: { errorCode: 27, memberAssignment: x },
  },
  {
    api: wire.heartbeat,
    question: group,
    asked: '000167' + '00000004' + '00016d' + 'ffff',
    answer: '00000000' + '001b',
    told: { errorCode: 27 },
  },
  {
    api: wire.leaveGroup,
    question: { groupId: 'g', memberId: 'm' },
    asked: '000167' + '00000001' + '00016d' + 'ffff',
    answer: '00000000' + '0019' + '00000001' + '00016d' + 'ffff' + '0019',
    told: { errorCode: 25 },
  },
  {
    api: wire.offsetCommit,
    question: { ...group, topics: [{ topic: 't', partitions: [{ partition: 5, offset: '6', metadata: 'd' }] }] },
    asked: '000167' + '00000004' + '00016d' + '00000001' + '000174' + '00000001' + '00000005' + '0000000000000006' + '000164',
    answer: '00000000' + '00000001' + '000174' + '00000001' + '00000005' + '0016',
    told: { responses: [{ topic: 't', partitions: [{ partition: 5, errorCode: 22 }] }] },
  },
  {
    api: wire.offsetFetch,
    question: { groupId: 'g', topics: [{ topic: 't', partitions: [{ partition: 5 }] }] },
    asked: '000167' + '00000001' + '000174' + '00000001' + '00000005',
    answer: '00000000' + '00000001' + '000174' + '00000001' + '00000005' + '0000000000000006' + '000164' + '001d' + '001e',
    told: {
      errorCode: 30, responses: [{ topic: 't', partitions: [{ partition: 5, offset: '6', metadata: 'd', errorCode: 29 }] }],
    },
  },
  {
    api: wire.listGroups,
    question: {},
    asked: '',
    answer: '00000000' + '001d' + '00000001' + '000167' + '000163',
    told: { errorCode: 29, groups: [{ groupId: 'g', protocolType: 'c' }] },
  },
  {
    api: wire.describeGroups,
    question: { groupIds: ['g'] },
    asked: '00000001' + '000167',
    answer: '00000000' + '00000001' + '0000' + '000167' + '000173' + '000163' + '000170' + '00000001' +
      '00016d' + '00016e' + '000168' + '00000001' + '07' + '00000001' + '08',
    told: {
      groups: [{
        errorCode: 0,
        groupId: 'g',
        state: 's',
        protocolType: 'c',
        protocol: 'p',
        members: [{
          memberId: 'm', clientId: 'n', clientHost: 'h', memberMetadata: Buffer.of(7), memberAssignment: Buffer.of(8),
        }],
      }],
    },
  },
  {
    api: wire.deleteGroups,
    question: ['g'],
    asked: '00000001' + '000167',
    answer: '00000000' + '00000001' + '000167' + '0000',
    told: { results: [{ groupId: 'g', errorCode: 0 }] },
  },
  {
    api: wire.initProducerId,
    question: { transactionalId: null, transactionTimeout: 9 },
    asked: 'ffff' + '00000009',
    answer: '00000000' + '001f' + '0000000000000006' + '0002',
    told: { errorCode: 31, producerId: '6', producerEpoch: 2 },
  },
]

const metadataHex = '0001' + '00000001' + '000174' + '0000000178'
const assignmentHex = '0001' + '00000001' + '000174' + '00000001' + '00000005' + '0000000178'

let checked: Promise<void> | undefined

/**
 * Tries what we use of kafkajs against what we know of the protocol: another version of it would otherwise show as a
 * request that a broker does not understand, at any time later.
 *
 * @throws Error that names what is another one
 */
export function checkWire (): Promise<void> {
  checked ??= check()
  return checked
}

async function check (): Promise<void> {
  for (const { api, question, asked, answer, told } of samples) {
    const what = `version ${api.version} of ${api.name}`
    expect(`a request, ${what}`, await tried(async () => (await api.encode(question)).toString('hex')), asked)
    expect(`an answer, ${what}`, readOf(await tried(async () => await api.decode(Buffer.from(answer, 'hex'))), told), told)
  }
  const metadata = { version: 1, topics: ['t'], userData: x }
  const assignment = { version: 1, assignment: { t: [5] }, userData: x }
  expect('member metadata', await tried(() => memberMetadata.encode(metadata).toString('hex')), metadataHex)
  expect('member metadata', await tried(() => memberMetadata.decode(Buffer.from(metadataHex, 'hex'))), metadata)
  expect('an assignment', await tried(() => memberAssignment.encode(assignment).toString('hex')), assignmentHex)
  expect('an assignment', await tried(() => memberAssignment.decode(Buffer.from(assignmentHex, 'hex'))), assignment)
}

async function tried<T> (work: () => T | Promise<T>): Promise<T | Error> {
  try {
    return await work()
  } catch (err) {
    return err as Error
  }
}

/** Of `got` the fields that `want` has: an answer may say more. */
function readOf (got: unknown, want: unknown): unknown {
  if (Buffer.isBuffer(want) || typeof want !== 'object' || typeof got !== 'object' || !got || !want) return got
  if (got instanceof Error) return got
  if (Array.isArray(want)) return Array.isArray(got) ? got.map((item, i) => readOf(item, want[i])) : got
  const of = got as Record<string, unknown>
  return Object.fromEntries(Object.entries(want).map(([name, value]) => [name, readOf(of[name], value)]))
}

function expect (what: string, got: unknown, want: unknown): void {
  if (isDeepStrictEqual(got, want)) return
  const said = got instanceof Error ? got.message : JSON.stringify(got)
  throw otherKafkajs(`its codec of ${what} is another one: got ${said}, want ${JSON.stringify(want)}`)
}
