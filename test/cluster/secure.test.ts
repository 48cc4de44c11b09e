import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { readConfig } from '../../gateway/read-config.js'
import { kafkaFindings } from '../../gateway/doctor/kafka.js'
import { run, start } from '../cli/given.js'
import { until as untilEver } from '../faults/node-process.js'
import { until } from '../gateway/node.js'
import { outsideKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'
import { passwords, secureKafkaMissing, startSecureKafka } from './secure-kafka.js'
import { findPort } from './server-process.js'

// Node finds no names of these in kafkajs.
const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } =
  createRequire(import.meta.url)('kafkajs') as typeof import('kafkajs')

t.test('A node that may do only what docs/operations.md says', { skip: secureKafkaMissing() ?? redisMissing() ?? false }, async t => {
  const { kafka, certificates, login } = await startSecureKafka(t)
  const { ca, server, client } = certificates
  const { CREATE, DESCRIBE, READ, WRITE } = AclOperationTypes
  const { GROUP, TOPIC, TRANSACTIONAL_ID } = AclResourceTypes
  await grant(kafka.brokers[0]!, [
    [TOPIC, 'ledgerline.', [DESCRIBE, READ, WRITE, CREATE]], [GROUP, 'ledgerline.', [READ]],
    [TRANSACTIONAL_ID, 'ledgerline.states.', [DESCRIBE, WRITE]],
  ])
  const tlsPort = await findPort()
  await startRedis(t, {
    args: ['--tls-port', `${tlsPort}`, '--tls-cert-file', server.cert, '--tls-key-file', server.key, '--tls-ca-cert-file', ca,
      '--user', 'default', 'off', '--user', 'ledgerline', 'on', '>redis-secret', '~ledgerline:*', '~{ledgerline.*',
      '&ledgerline:*', '+@all', '-@admin', '-@dangerous', '+info', '+role'],
  })
  const env = {
    KAFKA_BROKERS: login,
    KAFKA_SSL_CA_FILE: ca,
    KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
    KAFKA_SASL_USERNAME: 'bob',
    KAFKA_SASL_PASSWORD: passwords.bob,
    REDIS_URL: `rediss://127.0.0.1:${tlsPort}`,
    REDIS_USERNAME: 'ledgerline',
    REDIS_PASSWORD: 'redis-secret',
    REDIS_SSL_CA_FILE: ca,
    REDIS_SSL_CERT_FILE: client.cert,
    REDIS_SSL_KEY_FILE: client.key,
    LEDGERLINE_HTTP_PORT: '0',
    LEDGERLINE_TCP_PORT: '0',
    LEDGERLINE_PARTITIONS: '2',
    LEDGERLINE_API_KEYS: 'k'.repeat(20),
    LEDGERLINE_JWT_SECRET: 's'.repeat(32),
  }

  const healthOf = async (url: string) =>
    await (await fetch(`${url}/v1/health`, { headers: { authorization: `Bearer ${env.LEDGERLINE_API_KEYS}` } })).json()

  await t.test('says so where it may not delete what is old of the ledger', async t => {
    const url = await started(t, env)
    const told = async () =>
      (await healthOf(url)).troubles.find(({ condition }: { condition: string }) => condition === 'retention')
    // A node that had no partition yet, or no answer, when it first looked looks again after a minute.
    await untilEver(told, 100)
    t.match(await told(), { stops: false, reason: /grant DELETE on it \(kafka-acls --add/ })
    const findings = await kafkaFindings(readConfig(env))
    t.match(findings.filter(({ verdict, subject }) => verdict === 'warning' && subject === 'deletion'),
      ['ledger', 'rooms'].map(name => (
        { found: /may not delete its records/, fix: new RegExp(`--operation Delete --topic ledgerline.${name}$`) })), 'as does doctor')
  })

  const cut = ['ledgerline.ledger', 'ledgerline.rooms']
  await grant(kafka.brokers[0]!, cut.map(topic => [AclResourceTypes.TOPIC, topic, [AclOperationTypes.DELETE]]))
  await t.test('works', async t => {
    const url = await started(t, env)
    const cwd = t.testdir()
    const commands = { cwd, env: { LEDGERLINE_API_KEYS: env.LEDGERLINE_API_KEYS } }
    t.match(await run(['push', 'ann', 'hello', '--url', url], commands), { code: 0 })
    t.match(await run(['state', 'ann', '--at', 'now', '--url', url], commands), { code: 0 }, 'and reads what it has stored')
    await until('all is well', async () => {
      const { ready, troubles } = await healthOf(url)
      return ready && troubles.length === 0
    })
    t.strictSame((await kafkaFindings(readConfig(env))).filter(({ verdict, subject }) => verdict !== 'ok' && subject === 'deletion'), [])
  })

  for (const [name, wrong, message] of [
    ['to Kafka', { KAFKA_SASL_PASSWORD: 'wrong' }, /^ledgerline: Kafka broker \S+ refuses user bob .*: check KAFKA_SASL_USERNAME/],
    ['to Redis', { REDIS_PASSWORD: 'wrong' }, /^ledgerline: Redis at \S+: it refuses the login: check user and password/],
  ] as const) {
    await t.test(`ends with 2 and a sentence where its login ${name} is refused`, async t => {
      const { code, stderr } = await run(['start'], { cwd: t.testdir(), env: { ...env, ...wrong } })
      t.equal(code, 2)
      t.match(stderr, message)
      t.equal(stderr.trim().split('\n').length, 1, 'and no stack')
    })
  }
})

async function started (t: Test, env: Record<string, string>): Promise<string> {
  const child = start(['start'], { cwd: t.testdir(), env })
  const gone = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await gone
  })
  child.stderr.pipe(process.stderr)
  for await (const line of createInterface(child.stdout)) {
    const { msg, http, reason } = JSON.parse(line)
    if (msg === 'ready') {
      child.stdout.resume()
      return http
    }
    t.comment(msg, reason)
  }
  throw new Error('the node has ended')
}

async function grant (
  broker: string, granted: ReadonlyArray<[type: number, prefix: string, operations: number[]]>
): Promise<void> {
  const admin = outsideKafka([broker]).admin()
  await admin.connect()
  await admin.createAcls({
    acl: granted.flatMap(([resourceType, resourceName, operations]) => operations.map(operation => ({
      resourceType,
      resourceName,
      resourcePatternType: ResourcePatternTypes.PREFIXED,
      principal: 'User:bob',
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    }))),
  })
  await admin.disconnect()
}
