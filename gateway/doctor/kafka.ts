import { changelogConfig } from '../../ledger/kafka/changelog.js'
import { grantDelete } from '../../ledger/kafka/cutting.js'
import { alter, deletionTroubles } from '../../ledger/kafka/topic-settings.js'
import { type Inspected, type InspectedTopic, inspectKafka } from '../../ledger/kafka/inspect.js'
import { needsOf } from '../../ledger/kafka/rights.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { asManyAsLedger, roomStatesName, statesName, streams } from '../../ledger/streams.js'
import { downlinks, ledger, nodes, rooms } from '../../schemas/streams.js'
import type { Config } from '../config.js'
import { downlinksGroup } from '../downlinks.js'
import { kafkaAccess } from '../kafka-access.js'
import { type Finding, Findings } from './finding.js'

const brokersMin = 3
const replicasMin = 3
/** Kafka's own default: what a node appends is cut to what the topic takes, and less makes many small requests. */
const messageBytesMin = 1_048_588
const grant = 'kafka-acls --add --allow-principal USER --resource-pattern-type prefixed'
const unknownTopic = 'UNKNOWN_TOPIC_OR_PARTITION'

/** Looks at what a node needs of Kafka. Changes nothing; what can't be reached is a finding. */
export async function kafkaFindings (config: Config): Promise<Finding[]> {
  const { topicPrefix: prefix, kafkaBrokers: brokers } = config
  const names = [...streams, ...streams.map(rejectedStream)].map(({ name }) => name)
  const topics = [...new Set([...names, statesName, roomStatesName])]
    .map(name => ({ topic: `${prefix}.${name}`, needs: needsOf(name) }))
  const following = { users: ledger, rooms, lifecycle: nodes, [downlinksGroup]: downlinks }
  const groups = Object.entries(following).map(([group, { name }]) => `${group}.${name}`)
    .map(name => `${prefix}.${name}`)
  const findings = new Findings('kafka')
  try {
    judge(findings, prefix, await inspectKafka({
      ...kafkaAccess(config),
      clientId: config.kafkaClientId ?? config.nodeId,
      brokers,
      topics,
      groups,
      transactionalIds: [statesName, roomStatesName].map(name => `${prefix}.${name}.0`),
      deletedFrom: [ledger, rooms].map(({ name }) => `${prefix}.${name}`),
    }))
  } catch (err) {
    findings.judge('connection', (err as Error).message, false, {
      verdict: 'fatal',
      wanted: 'brokers that answer, and let this node in',
      why: 'The ledger is there.',
      fix: 'see KAFKA_BROKERS, KAFKA_SSL and KAFKA_SASL_MECHANISM in docs/operations.md, Managed Kafka and Redis',
    })
  }
  return findings.all
}

function judge (
  findings: Findings, prefix: string, { brokers, topics, deniedGroups, deniedRights, deniedDeletions }: Inspected
): void {
  findings.judge('brokers', `${brokers}`, brokers >= brokersMin, {
    wanted: `at least ${brokersMin}`,
    why: 'With fewer, the loss of one stops the ledger or loses what it had alone.',
    fix: 'add brokers, then raise the replication of the topics',
  })
  const ledgerPartitions = topics.find(({ topic }) => topic === `${prefix}.${ledger.name}`)?.partitions ?? 0
  for (const topic of topics) judgeTopic(findings, prefix, topic, ledgerPartitions)
  for (const sentence of deniedGroups) {
    findings.judge('groups', sentence, false, {
      verdict: 'fatal',
      wanted: 'READ on the groups of this prefix',
      why: 'A node that may not be a member waits for its partitions for ever.',
      fix: `${grant} --operation READ --group ${prefix}.`,
    })
  }
  for (const sentence of deniedRights) {
    findings.judge('rights', sentence, false, {
      verdict: 'fatal',
      wanted: 'READ and WRITE on the topics of this prefix, DESCRIBE and WRITE on its transactional ids',
      why: 'A node that lacks one does not start.',
      fix: sentence.includes('transactional id')
        ? `${grant} --operation DESCRIBE --operation WRITE --transactional-id ${prefix}.${statesName}.`
        : `${grant} --operation READ --operation WRITE --topic ${prefix}.`,
    })
  }
  if (deniedRights.length === 0) findings.ok('rights', 'nothing is denied that a node does with its topics')
  if (deniedGroups.length === 0) findings.ok('groups', 'this user may be a member')
  for (const sentence of deniedDeletions) {
    const topic = `${prefix}.${sentence.includes(`${prefix}.${rooms.name}:`) ? rooms.name : ledger.name}`
    findings.judge('deletion', sentence, false, {
      wanted: `DELETE on ${topic}`,
      why: 'Nodes delete what is old of it: without it, it grows for ever.',
      fix: grantDelete(topic),
    })
  }
}

function judgeTopic (
  findings: Findings, prefix: string, { topic, error, partitions, replicas, settings }: InspectedTopic,
  ledgerPartitions: number
): void {
  if (error === unknownTopic) {
    findings.ok(topic, 'not there yet: the first node creates it, where its user may')
    return
  }
  if (error !== '') {
    findings.judge(topic, error, false, {
      verdict: 'fatal',
      wanted: 'READ, WRITE and DESCRIBE',
      why: 'A node reads and writes it.',
      fix: `${grant} --operation ALL --topic ${prefix}.`,
    })
    return
  }
  const before = findings.all.length
  const check = (isGood: boolean, found: string, wish: Parameters<Findings['judge']>[3]) => {
    if (!isGood) findings.judge(topic, found, false, wish)
  }
  const asMany = [...asManyAsLedger.map(({ name }) => name), statesName, roomStatesName]
  const isAsMany = asMany.some(name => topic === `${prefix}.${name}`)
  check(!isAsMany || ledgerPartitions === 0 || partitions === ledgerPartitions, `${partitions} partitions`, {
    verdict: 'fatal',
    wanted: `${ledgerPartitions}, as the ledger has`,
    why: 'All that is a user\'s, or a room\'s, is in the partition of the same number.',
    fix: 'delete it while it is empty, or choose another LEDGERLINE_TOPIC_PREFIX',
  })
  check(replicas >= replicasMin, `${replicas} replicas`, {
    wanted: `${replicasMin}`,
    why: 'What is acknowledged must outlive a broker.',
    fix: 'kafka-reassign-partitions --execute, with three brokers for each partition',
  })
  const isOfStates = [statesName, roomStatesName].some(name => topic === `${prefix}.${name}`)
  const rules = {
    topic,
    keepsAll: [ledger, rooms].some(({ name }) => topic === `${prefix}.${name}`),
    ...(isOfStates ? { config: changelogConfig } : {}),
  }
  for (const { found, wanted, why, fix, fatal } of deletionTroubles(rules, settings)) {
    findings.judge(topic, found, false, { verdict: fatal ? 'fatal' : 'warning', wanted, why, fix })
  }
  const inSync = Number(settings.get('min.insync.replicas') ?? 2)
  check(replicas < replicasMin || inSync >= 2, `min.insync.replicas=${inSync}`, {
    wanted: '2',
    why: 'An append is acknowledged with one copy, and lost with its broker.',
    fix: alter(topic, 'min.insync.replicas=2'),
  })
  check(inSync <= replicas || !settings.has('min.insync.replicas'), `min.insync.replicas=${inSync} of ${replicas}`, {
    verdict: 'fatal',
    wanted: `at most ${replicas}`,
    why: 'Every append is refused.',
    fix: alter(topic, `min.insync.replicas=${Math.max(1, replicas - 1)}`),
  })
  const bytes = Number(settings.get('max.message.bytes') ?? messageBytesMin)
  check(bytes >= messageBytesMin, `max.message.bytes=${bytes}`, {
    wanted: `at least ${messageBytesMin}`,
    why: 'Appends are cut to it, and an item that is larger is refused.',
    fix: alter(topic, `max.message.bytes=${messageBytesMin}`),
  })
  if (findings.all.length === before) findings.ok(topic, `${partitions} partitions, ${replicas} replicas`)
}
