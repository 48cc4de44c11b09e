import { makeCertificates, opensslMissing, type TestCertificates } from './certificates.js'
import { kafkaMissing, runKafkaTool, startKafka, type TestKafka } from './kafka.js'
import type { Listener } from './kafka-settings.js'
import { findPort, type Teardown } from './server-process.js'

/**
 * One broker with a port for each way in. That of `kafka` is for everybody, who may do everything. By the others the
 * users of `superUsers` may do everything, and anybody else nothing that no ACL allows.
 */
export interface SecureKafka {
  readonly kafka: TestKafka
  readonly certificates: TestCertificates
  /** HOST:PORT: TLS with a client certificate. */
  readonly mtls: string
  /** TLS and a login; without TLS. */
  readonly login: string
  readonly clear: string
}

export const passwords = { ann: 'ann-secret', bob: 'bob-secret' } as const

/** Sessions by SCRAM-SHA-256 end after this; others last as long as the connection, or the token. */
export const sessionMs = 2_000

export const superUsers = ['ANONYMOUS', 'ann', 'CN=ledgerline', 'service'] as const

export function secureKafkaMissing (): string | undefined { return kafkaMissing() ?? opensslMissing() }

export async function startSecureKafka (t: Teardown): Promise<SecureKafka> {
  const certificates = await makeCertificates(t)
  const listeners: Listener[] = [
    { name: 'mtls', protocol: 'SSL', port: await findPort() },
    { name: 'login', protocol: 'SASL_SSL', port: await findPort() },
    { name: 'clear', protocol: 'SASL_PLAINTEXT', port: await findPort() },
  ]
  const kafka = await startKafka(t, { listeners, properties: propertiesOf(certificates) })
  const logins = [['ann', 'SCRAM-SHA-256'], ['ann', 'SCRAM-SHA-512'], ['bob', 'SCRAM-SHA-512']] as const
  await Promise.all(logins.map(([user, mechanism]) => runKafkaTool('kafka.admin.ConfigCommand',
    '--bootstrap-server', kafka.brokers[0]!, '--alter', '--add-config', `${mechanism}=[password=${passwords[user]}]`,
    '--entity-type', 'users', '--entity-name', user)))
  const [mtls, login, clear] = listeners.map(({ port }) => `127.0.0.1:${port}`)
  return { kafka, certificates, mtls: mtls!, login: login!, clear: clear! }
}

function propertiesOf ({ ca, serverChain }: TestCertificates): Record<string, string> {
  const module = 'org.apache.kafka.common.security'
  const properties: Record<string, string> = {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': superUsers.map(user => `User:${user}`).join(';'),
    'connection.failed.authentication.delay.ms': '10',
    'listener.name.mtls.ssl.client.auth': 'required',
    'listener.name.login.scram-sha-256.connections.max.reauth.ms': `${sessionMs}`,
    'listener.name.login.oauthbearer.connections.max.reauth.ms': '600000',
  }
  for (const name of ['mtls', 'login']) {
    Object.assign(properties, {
      [`listener.name.${name}.ssl.keystore.type`]: 'PEM',
      [`listener.name.${name}.ssl.keystore.location`]: serverChain,
      [`listener.name.${name}.ssl.truststore.type`]: 'PEM',
      [`listener.name.${name}.ssl.truststore.location`]: ca,
    })
  }
  const users = Object.entries(passwords).map(([user, password]) => `user_${user}="${password}"`)
  for (const name of ['login', 'clear']) {
    Object.assign(properties, {
      [`listener.name.${name}.sasl.enabled.mechanisms`]: 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
      [`listener.name.${name}.plain.sasl.jaas.config`]: `${module}.plain.PlainLoginModule required ${users.join(' ')};`,
      [`listener.name.${name}.scram-sha-256.sasl.jaas.config`]: `${module}.scram.ScramLoginModule required;`,
      [`listener.name.${name}.scram-sha-512.sasl.jaas.config`]: `${module}.scram.ScramLoginModule required;`,
      [`listener.name.${name}.oauthbearer.sasl.jaas.config`]:
        `${module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
    })
  }
  // One that the port without TLS does not take.
  properties['listener.name.clear.sasl.enabled.mechanisms'] = 'PLAIN,SCRAM-SHA-512'
  return properties
}
