import { once } from 'node:events'
import { copyFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { readStoreConfig } from '../../gateway/read-config.js'
import { kafkaAccess } from '../../gateway/kafka-access.js'
import type { Environment } from '../../gateway/setting.js'
import { parseAddress } from '../../ledger/kafka/address.js'
import { Connection } from '../../ledger/kafka/connection.js'
import type { KafkaLog } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { metadata } from '../../ledger/kafka/leader-apis.js'
import { type Health, nobodyWatches } from '../../schemas/conditions.js'
import type { Stream } from '../../schemas/streams.js'
import { keyPassword } from '../cluster/certificates.js'
import { outsideKafka } from '../cluster/kafka.js'
import { passwords, secureKafkaMissing, sessionMs, startSecureKafka } from '../cluster/secure-kafka.js'
import { collect, collector, note, notes, noteStream, until } from './log-contract.js'

// Node finds no names of these in kafkajs.
const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } =
  createRequire(import.meta.url)('kafkajs') as typeof import('kafkajs')

t.test('Kafka that lets in only whom it knows', { skip: secureKafkaMissing() ?? false }, async t => {
  const { kafka, certificates, mtls, login, clear } = await startSecureKafka(t)
  const { ca, client } = certificates
  const byScram = {
    KAFKA_BROKERS: login,
    KAFKA_SSL_CA_FILE: ca,
    KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
    KAFKA_SASL_USERNAME: 'ann',
    KAFKA_SASL_PASSWORD: passwords.ann,
  }
  const byCertificate = {
    KAFKA_BROKERS: mtls, KAFKA_SSL_CA_FILE: ca, KAFKA_SSL_CERT_FILE: client.cert, KAFKA_SSL_KEY_FILE: client.key,
  }
  const bySession = { ...byScram, KAFKA_SASL_MECHANISM: 'SCRAM-SHA-256' }
  const tokens = await startTokens(t)
  const byToken = {
    KAFKA_BROKERS: login,
    KAFKA_SSL_CA_FILE: ca,
    KAFKA_SASL_MECHANISM: 'OAUTHBEARER',
    KAFKA_SASL_TOKEN_URL: tokens.url,
    KAFKA_SASL_USERNAME: 'our:client',
    KAFKA_SASL_PASSWORD: 'its secret',
    KAFKA_SASL_TOKEN_SCOPE: 'kafka',
  }

  async function open (
    t: Test, env: Environment, stream: Stream<any> = noteStream(), health: Health = nobodyWatches
  ): Promise<KafkaLog> {
    const config = readStoreConfig(env)
    const log = await openKafkaLog({
      ...kafkaAccess(config),
      brokers: config.kafkaBrokers,
      topicPrefix: 'test',
      clientId: 'test',
      streams: [{ stream, partitions: 1 }],
      health,
      failed: () => {},
    })
    t.teardown(() => log.close())
    return log
  }

  const directory = t.testdir({ password: `${passwords.ann}\n`, token: `${unsecured('service', 3600)}\n` })
  const waysIn: Record<string, Environment> = {
    'a client certificate': byCertificate,
    'a client certificate whose key has a password': {
      ...byCertificate, KAFKA_SSL_KEY_FILE: certificates.encryptedKey, KAFKA_SSL_KEY_PASSWORD: keyPassword,
    },
    'the name that its certificate is for': { ...byCertificate, KAFKA_SSL_SERVER_NAME: 'localhost' },
    'SCRAM-SHA-512': byScram,
    'SCRAM-SHA-256': bySession,
    PLAIN: { ...byScram, KAFKA_SASL_MECHANISM: 'PLAIN' },
    'a password from a file': {
      ...byScram, KAFKA_SASL_PASSWORD: undefined, KAFKA_SASL_PASSWORD_FILE: `${directory}/password`,
    },
    'a login without TLS': { ...byScram, KAFKA_BROKERS: clear, KAFKA_SSL_CA_FILE: undefined },
    'a token from a URL': byToken,
    'a token from a file': {
      KAFKA_BROKERS: login,
      KAFKA_SSL_CA_FILE: ca,
      KAFKA_SASL_MECHANISM: 'OAUTHBEARER',
      KAFKA_SASL_TOKEN_FILE: `${directory}/token`,
      KAFKA_SASL_EXTENSIONS: 'logicalCluster=lkc-1',
    },
  }
  for (const [name, env] of Object.entries(waysIn)) {
    await t.test(`takes ${name}`, async t => {
      const stream = noteStream()
      const log = await open(t, env, stream)
      await log.append(stream, 0, [note('hello')])
      t.strictSame(await collect(log.read(stream, 0, { from: 0n, to: 1n })), ['hello'])
    })
  }

  await t.test('asks the issuer of tokens as OAuth wants it, and not for each connection', async t => {
    t.strictSame(tokens.requests, [{
      authorization: `Basic ${Buffer.from('our%3Aclient:its+secret').toString('base64')}`,
      body: 'grant_type=client_credentials&scope=kafka',
    }])
  })

  const [plain] = kafka.brokers
  const other = await certificates.issue('elsewhere', 'elsewhere', 'DNS:elsewhere')
  const refusals: Record<string, [Environment, RegExp]> = {
    'a wrong password': [{ ...byScram, KAFKA_SASL_PASSWORD: 'wrong' },
      /refuses user ann \(SCRAM-SHA-512: .*\): check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD/],
    'a wrong password by PLAIN': [{ ...byScram, KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_PASSWORD: 'wrong' },
      /refuses user ann \(PLAIN: .*\): check KAFKA_SASL_USERNAME/],
    'a user that there is not': [{ ...byScram, KAFKA_SASL_USERNAME: 'carl' }, /refuses user carl/],
    'a mechanism that is not offered': [{ ...bySession, KAFKA_BROKERS: clear, KAFKA_SSL_CA_FILE: undefined },
      /takes no logins by SCRAM-SHA-256: set KAFKA_SASL_MECHANISM to one of .*SCRAM-SHA-512/],
    'a login where there is none': [{ ...byScram, KAFKA_BROKERS: plain, KAFKA_SSL_CA_FILE: undefined },
      /takes no logins on this port: name its SASL port in KAFKA_BROKERS, or unset KAFKA_SASL_MECHANISM/],
    'a CA that did not sign': [{ ...byScram, KAFKA_SSL_CA_FILE: certificates.otherCa },
      /its certificate is not trusted: name that of its CA in KAFKA_SSL_CA_FILE/],
    'no CA': [{ ...byScram, KAFKA_SSL_CA_FILE: undefined, KAFKA_SSL: 'true' }, /its certificate is not trusted/],
    'another server name': [{ ...byScram, KAFKA_SSL_SERVER_NAME: 'elsewhere' },
      /its certificate is for another name: .* or set KAFKA_SSL_SERVER_NAME/],
    'no client certificate': [{ KAFKA_BROKERS: mtls, KAFKA_SSL_CA_FILE: ca },
      /it wants a client certificate that it trusts: see KAFKA_SSL_CERT_FILE/],
    'TLS that is not spoken to': [{ KAFKA_BROKERS: mtls }, /speaks TLS: set KAFKA_SSL=true/],
    'no login': [{ KAFKA_BROKERS: clear }, /wants a login: set KAFKA_SASL_MECHANISM to one of .*PLAIN/],
    'a client that the issuer does not know': [{ ...byToken, KAFKA_SASL_PASSWORD: 'wrong' },
      /refuses client our:client a token \(HTTP 401, invalid_client, who is that\): check KAFKA_SASL_USERNAME/],
    'a token that is too old': [{ ...byToken, KAFKA_SASL_TOKEN_SCOPE: 'old' }, /refuses the token \(OAUTHBEARER: .*\): check what/],
  }
  for (const [name, [env, message]] of Object.entries(refusals)) {
    await t.test(`${name} is named at once, with what to do`, async t => {
      await t.rejects(open(t, env), { code: 'misconfigured', message })
    })
  }

  await t.test('TLS where none is spoken is told apart from a broker that is away', async t => {
    const access = kafkaAccess(readStoreConfig(byCertificate))
    await t.rejects(Connection.open(parseAddress(plain!), { ...access, clientId: 'test' }, 5_000), {
      name: 'NoAnswer', message: /a port without TLS answers it, too: see KAFKA_SSL/,
    })
  })

  await t.test('a login is renewed before it ends, and no append is lost or doubled', async t => {
    const stream = noteStream()
    const troubles: string[] = []
    const health: Health = { begin: (name, reason) => { troubles.push(`${name}: ${reason}`) }, end () {} }
    const log = await open(t, bySession, stream, health)
    const seen = collector()
    const following = await log.follow(stream, 'group', seen)
    t.teardown(() => following.stop())
    let count = 0
    await log.append(stream, 0, [note(`n${count++}`)])
    await until(() => seen.blocks.length > 0)
    await calm(async () => {
      troubles.length = 0 // the first group of a broker waits for its place
      const end = Date.now() + 2.5 * sessionMs
      const append = async () => {
        while (Date.now() < end) await log.append(stream, 0, [note(`n${count++}`)])
      }
      await Promise.all(Array.from({ length: 20 }, append))
      return troubles.length === 0
    })
    await until(() => seen.texts(0).length >= count)
    t.strictSame([...seen.texts(0)].sort(), notes(count).map(({ text }) => text).sort())
    t.equal(new Set(seen.texts(0)).size, count)
    t.strictSame(troubles, [], 'nor had any to be tried again')
  })

  await t.test('a connection outlives its login, whatever is asked on it meanwhile', async t => {
    const access = kafkaAccess(readStoreConfig(bySession))
    const outlives = await calm(async () => {
      const connection = await Connection.open(parseAddress(login), { ...access, clientId: 'test' }, 60_000)
      t.teardown(() => connection.destroy(new Error('the test is over')))
      const end = Date.now() + 2.5 * sessionMs
      const ask = async () => {
        while (Date.now() < end) await connection.send(metadata, { topics: [] }, 60_000)
      }
      await Promise.all(Array.from({ length: 10 }, ask))
      await new Promise(resolve => setTimeout(resolve, 1.5 * sessionMs))
      await connection.send(metadata, { topics: [] }, 60_000)
      return !connection.closed
    })
    t.ok(outlives, 'also when it was silent for longer than that')
  })

  await t.test('what a user may not do is said at once, with what to grant', async t => {
    const asBob = { ...byScram, KAFKA_SASL_USERNAME: 'bob', KAFKA_SASL_PASSWORD: passwords.bob }
    const stream = noteStream()
    await (await open(t, byScram, stream)).close()
    const admin = outsideKafka([plain!]).admin()
    await admin.connect()
    t.teardown(() => admin.disconnect())
    const grant = (resourceType: number, ...operations: number[]) => admin.createAcls({
      acl: operations.map(operation => ({
        resourceType,
        resourceName: 'test.',
        resourcePatternType: ResourcePatternTypes.PREFIXED,
        principal: 'User:bob',
        host: '*',
        operation,
        permissionType: AclPermissionTypes.ALLOW,
      })),
    })
    const { TOPIC, GROUP } = AclResourceTypes
    const { DESCRIBE, READ, WRITE } = AclOperationTypes
    await t.rejects(open(t, asBob, stream), {
      code: 'misconfigured', message: /^Kafka topic test\.notes-\S+: this user may not see it: grant DESCRIBE, READ and WRITE on topics test\.\*/,
    })
    await grant(TOPIC, DESCRIBE, READ, WRITE)
    await t.rejects(retried(() => open(t, asBob, noteStream()), /may not see it/), {
      code: 'misconfigured', message: /is not there, and this user may not create it: create it with 1 partitions, or grant CREATE/,
    })
    const log = await open(t, asBob, stream)
    await t.rejects(log.follow(stream, 'group', collector()), {
      code: 'misconfigured', message: /^Kafka group test\.group\.\S+: this user may not be a member: grant READ on groups test\.\*/,
    })
    await grant(GROUP, READ)
    const following = await retried(() => log.follow(stream, 'group', collector()), /may not be a member/)
    await following.stop()
  })

  await t.test('a certificate that was renewed is used for the next connection', async t => {
    const directory = t.testdir()
    const files = { ca: `${directory}/ca`, cert: `${directory}/cert`, key: `${directory}/key` }
    await copyFile(certificates.otherCa, files.ca)
    await copyFile(client.cert, files.cert)
    await copyFile(client.key, files.key)
    const { ssl } = kafkaAccess(readStoreConfig({
      KAFKA_BROKERS: mtls, KAFKA_SSL_CA_FILE: files.ca, KAFKA_SSL_CERT_FILE: files.cert, KAFKA_SSL_KEY_FILE: files.key,
    }))
    const connect = () => openKafkaLog({
      ...(ssl ? { ssl } : {}), brokers: [mtls], topicPrefix: 'test', clientId: 'test', streams: [], failed: () => {},
    })
    await t.rejects(connect(), /not trusted/)
    await copyFile(other.key, files.key)
    await copyFile(ca, files.ca)
    await t.rejects(connect(), /not trusted/, 'not while half of it is there')
    await copyFile(client.key, files.key)
    await (await connect()).close()
  })
})

/**
 * A login is renewed some tenths of a second before it ends: a machine that is busy for so long has the broker close
 * the connection. So `holds` is tried again, a few times; what never renews a login fails at each.
 */
async function calm (holds: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 12; i++) if (await holds().catch(() => false)) return true
  return false
}

/** ACLs reach the brokers a little later than whoever gave them. */
async function retried<T> (attempt: () => Promise<T>, meanwhile: RegExp): Promise<T> {
  for (let i = 0; ; i++) {
    try {
      return await attempt()
    } catch (err) {
      if (i >= 1_000 || !meanwhile.test((err as Error).message)) throw err
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

/** An issuer of tokens that knows one client. */
async function startTokens (t: Test) {
  const requests: Array<{ authorization: string | undefined, body: string }> = []
  const server = createServer(async (request, response) => {
    const body = await text(request)
    const { authorization } = request.headers
    const known = authorization === `Basic ${Buffer.from('our%3Aclient:its+secret').toString('base64')}`
    if (!known) {
      response.writeHead(401).end(JSON.stringify({ error: 'invalid_client', error_description: 'who is that' }))
      return
    }
    const isOld = body.includes('scope=old')
    if (!isOld) requests.push({ authorization, body })
    response.end(JSON.stringify({ access_token: unsecured('service', isOld ? -60 : 3600), expires_in: 3600 }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, requests }
}

/** A token that is not signed, which a broker takes that is set up for it. */
function unsecured (sub: string, lifeSeconds: number): string {
  const nowSeconds = Date.now() / 1_000
  return [{ alg: 'none' }, { sub, iat: nowSeconds - 120, exp: nowSeconds + lifeSeconds }]
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') + '.'
}
