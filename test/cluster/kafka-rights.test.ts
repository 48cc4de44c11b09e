import t, { type Test } from 'tap'
import kafkajs from 'kafkajs'
import { readConfig } from '../../gateway/read-config.js'
import { kafkaFindings } from '../../gateway/doctor/kafka.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { statesName, streams } from '../../ledger/streams.js'
import { ledger } from '../../schemas/streams.js'
import { until } from '../faults/node-process.js'
import { lastingConditions } from '../lasting.js'
import { kafkaMissing, outsideKafka, startKafka } from './kafka.js'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs

t.test('A right that the user of a node lacks', { skip: kafkaMissing() ?? false, timeout: 450_000 }, async t => {
  const { brokers } = await startKafka(t, {
    properties: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
    },
  })
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const { TOPIC, TRANSACTIONAL_ID } = AclResourceTypes
  const { READ, WRITE } = AclOperationTypes

  async function open (t: Test, topicPrefix: string) {
    const { lasting, health } = lastingConditions()
    const log = await openKafkaLog({
      brokers,
      topicPrefix,
      clientId: 'test',
      streams: streams.map(stream => ({ stream, partitions: 1 })),
      changelogs: [{ name: statesName, like: ledger }],
      slowMs: 100,
      health,
      failed: (what, err) => { t.comment(what, err.message) },
    })
    t.teardown(() => log.close())
    return { log, lasting }
  }

  /** Everything else stays allowed. */
  async function deny (resourceType: number, resourceName: string, operation: number) {
    const acl = {
      resourceType, resourceName, resourcePatternType: ResourcePatternTypes.LITERAL, principal: 'User:ANONYMOUS', host: '*',
    }
    const denial = { ...acl, operation, permissionType: AclPermissionTypes.DENY }
    await admin.createAcls({
      acl: [{ ...acl, operation: AclOperationTypes.ALL, permissionType: AclPermissionTypes.ALLOW }, denial],
    })
    return async () => { await admin.deleteAcls({ filters: [denial] }) }
  }

  /** A broker hears of what is denied a little later. */
  async function refusal (t: Test, topicPrefix: string): Promise<{ code?: string, message: string }> {
    let refused: { code?: string, message: string } | undefined
    await until(async () => {
      await open(t, topicPrefix).then(({ log }) => log.close(), err => { refused = err })
      return refused?.code === 'misconfigured' // and not one that the broker was too busy to answer
    })
    return refused!
  }

  const lookAgain = async (prefix: string) => (await kafkaFindings(readConfig({
    KAFKA_BROKERS: brokers.join(), REDIS_URL: 'redis://127.0.0.1:6379', LEDGERLINE_TOPIC_PREFIX: prefix,
  }))).filter(({ subject }) => subject === 'rights')

  for (const [name, type, on, operation, sentence, fix] of [
    ['to write the ledger', TOPIC, 'ledger', WRITE, /^Kafka topic one\.ledger: this user has no right to WRITE: grant WRITE on topics one\.\*/, /--topic one\.$/],
    ['to read uplinks', TOPIC, 'uplinks', READ, /^Kafka topic one\.uplinks: .* grant READ on topics one\.\*/, /--topic one\.$/],
    ['to write saved states', TOPIC, 'states', WRITE, /^Kafka topic one\.states: .* grant WRITE on topics one\.\*/, /--topic one\.$/],
    ['to write in transactions', TRANSACTIONAL_ID, 'states.0', WRITE,
      /^Kafka transactional id one\.states\.0: .* grant DESCRIBE and WRITE on transactional ids one\.states\.\*/, /--transactional-id one\.states\.$/],
  ] as const) {
    await t.test(`${name} is said when it starts, and by the doctor, with what to grant`, async t => {
      await (await open(t, 'one')).log.close()
      await until(async () => (await lookAgain('one'))[0]?.verdict === 'ok')
      const grant = await deny(type, `one.${on}`, operation)
      t.match(await refusal(t, 'one'), { code: 'misconfigured', message: sentence })
      await until(async () => (await lookAgain('one'))[0]?.verdict === 'fatal')
      t.match(await lookAgain('one'), [{ verdict: 'fatal', found: sentence, fix }])
      await grant()
      await until(async () => (await lookAgain('one'))[0]?.verdict === 'ok')
    })
  }

  await t.test('but does not need is not asked for', async t => {
    await (await open(t, 'two')).log.close()
    await deny(TOPIC, 'two.downlinks', WRITE)
    await deny(TOPIC, 'two.uplinks.rejected', READ)
    await deny(TOPIC, 'two.probe', WRITE)
    const { log } = await open(t, 'two')
    t.ok(log.health().ok)
    await until(async () => (await lookAgain('two')).length > 0)
    t.match(await lookAgain('two'), [{ verdict: 'ok' }])
  })

  await t.test('any more is said before an append fails, and not any longer than it lasts', async t => {
    const { log, lasting } = await open(t, 'three')
    const grantNodes = await deny(TOPIC, 'three.nodes', WRITE)
    await until(() => lasting.has('refused three.nodes'))
    t.match(lasting.get('refused three.nodes'), /has no right to WRITE/)
    t.ok(log.health().ok, 'a node goes on without what is not the ledger')
    const grantLedger = await deny(TOPIC, 'three.ledger', WRITE)
    await until(() => !log.health().ok)
    t.match(log.health().reason, /three\.ledger: this user has no right to WRITE/)
    await grantNodes()
    await grantLedger()
    await until(() => lasting.size === 0 && log.health().ok)
  })
})
