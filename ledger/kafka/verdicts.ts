import { NoAnswer, NotAdmitted, NotSetUp, UnsupportedBroker } from './no-answer.js'
import { errorName, KafkaError } from './wire.js'

/**
 * What to do about an error. `retriable`: the same again, a little later. `throttled`: the same again, after the time
 * that the broker named. `permanent`: it stays so until a person changes something; asked again at a slow pace.
 */
export type Verdict = 'retriable' | 'throttled' | 'permanent'

/**
 * What became of a batch. `wrong-producer`: what the broker knows of the producer does not go with the batch, which
 * goes again under a new id. `too-large`: no broker with these settings takes it; smaller ones go.
 */
export type Fate = 'not-stored' | 'unknown' | 'wrong-producer' | 'too-large'

export interface Judgement {
  readonly verdict: Verdict
  readonly fate: Fate
  /** Another broker may lead the partition: it is time to ask who does. */
  readonly moved: boolean
  /** What a person does about it; empty where it heals by itself. */
  readonly remedy: string
}

const access = (right: string) => `grant ${right} to the user that this node connects as (kafka-acls --add)`
const settings = 'see the settings of the topic (kafka-configs --describe --entity-type topics)'
const versions = 'run Kafka 2.4 or later, with its message format of 0.11 or later'

/** The one home of what each error means: https://kafka.apache.org/protocol#protocol_error_codes */
const table = new Map<number, Judgement>([
  [-1, again('unknown')], // the broker does not know what went wrong
  [2, again('not-stored')], // a batch that arrived damaged
  [3, moving('unknown')], // no such topic, yet or any more; or it was appended, and the replica has moved since
  [5, moving('not-stored')], // no leader
  [6, moving('unknown')], // another leader, perhaps only since it was appended
  [7, again('unknown')], // the replicas took too long
  [8, moving('not-stored')],
  [9, moving('unknown')],
  [10, tooLarge('raise max.message.bytes of the topic')],
  [13, moving('unknown')],
  [14, again('not-stored')], // the coordinator loads its groups, moves, is somewhere else
  [15, again('not-stored')],
  [16, again('not-stored')],
  [17, permanent('choose another LEDGERLINE_TOPIC_PREFIX')],
  [18, tooLarge('raise segment.bytes of the topic')],
  [19, again('not-stored')], // too few replicas
  [20, again('unknown')], // too few of them, when it was stored already
  [22, again('not-stored')], // the member of a group has an old generation, or is none: it joins again
  [25, again('not-stored')],
  [27, again('not-stored')], // the group shares out its partitions
  [29, permanent(access('READ, WRITE, DESCRIBE and, where it is to be created, CREATE on the topic'))],
  [30, permanent(access('READ on the group'))],
  [31, permanent(access('IDEMPOTENT_WRITE on the cluster, or WRITE on a topic'))],
  [32, permanent('set message.timestamp.type of the topic to CreateTime, and look at the clocks')],
  [33, permanent('choose a mechanism that the broker has')],
  [34, permanent('look at how this node authenticates')],
  [35, permanent(versions)],
  [37, permanent('choose another number of partitions')],
  [38, permanent('choose another replication factor')],
  [40, permanent(settings)],
  [41, moving('not-stored')], // another controller
  [42, permanent('see the log of the broker')],
  [43, permanent(versions)],
  [44, permanent('see the policy of the broker (create.topic.policy.class.name)')],
  [45, { ...again('wrong-producer'), moved: true }], // its sequence: the log may be another one
  [46, again('wrong-producer')],
  [47, again('wrong-producer')], // its epoch
  [49, again('wrong-producer')], // its id
  [51, again('not-stored')],
  [53, permanent(access('WRITE and DESCRIBE on the transactional id'))],
  [54, permanent('configure an authorizer, or no ACLs')],
  [56, moving('unknown')], // the disk of the broker
  [57, moving('unknown')],
  [58, permanent('look at how this node authenticates')],
  [59, { ...again('wrong-producer'), moved: true }], // the broker has forgotten it
  [60, again('not-stored')],
  [74, moving('not-stored')], // the epoch of the leader
  [75, moving('not-stored')],
  [76, permanent(settings)],
  [77, moving('not-stored')],
  [78, again('not-stored')],
  [79, again('not-stored')],
  [82, permanent('another process has come under the same KAFKA_GROUP_INSTANCE_ID, and has the partitions: ' +
    'give each node its own; this one goes on when the other one is gone')],
  [87, permanent('set cleanup.policy of the topic to delete (kafka-configs --alter --add-config cleanup.policy=delete)')],
  [89, { ...again('not-stored'), verdict: 'throttled' }],
  [100, moving('not-stored')], // another topic of this name
  [103, moving('not-stored')],
])

const unlisted: Judgement = { ...permanent('see the log of the broker'), fate: 'unknown' }

/** @param errorCode other than 0. One that is not known here is taken for permanent: it is told, and tried slowly. */
export function judge (errorCode: number): Judgement { return table.get(errorCode) ?? unlisted }

/** Of a request that has failed as a whole. */
export function judgeError (err: unknown): Judgement {
  if (err instanceof KafkaError) return judge(err.code)
  if (err instanceof UnsupportedBroker) return permanent(versions)
  if (err instanceof NotAdmitted || err instanceof NotSetUp) return permanent('') // its message says what to do
  return err instanceof NoAnswer ? moving(err.sent ? 'unknown' : 'not-stored') : again('unknown')
}

/** What is wrong and, where a person has to mend it, how. */
export function tell (what: string, { remedy }: Judgement): string { return remedy === '' ? what : `${what}: ${remedy}` }

export function tellCode (where: string, errorCode: number): string {
  return tell(`${where}: ${errorName(errorCode)}`, judge(errorCode))
}

function again (fate: Fate): Judgement { return { verdict: 'retriable', fate, moved: false, remedy: '' } }
function moving (fate: Fate): Judgement { return { verdict: 'retriable', fate, moved: true, remedy: '' } }

function permanent (remedy: string): Judgement {
  return { verdict: 'permanent', fate: 'not-stored', moved: false, remedy }
}

function tooLarge (remedy: string): Judgement { return { ...permanent(remedy), fate: 'too-large' } }
