import type { Admission } from '../ledger/kafka/connection.js'
import type { Sasl } from '../ledger/kafka/sasl.js'
import { mskToken } from './msk-token.js'
import { oauthToken } from './oauth-token.js'
import { exactlyOneOf, named, renewedFile, wanted } from './secret-file.js'
import { ConfigError } from './setting.js'
import { type SaslMechanismSetting, saslMechanisms, type StoreConfig, storeSettings } from './store-settings.js'
import { clientTls } from './tls-files.js'

/** What it takes to connect to the brokers, besides the client id. */
export type KafkaAccess = Omit<Admission, 'clientId'> & { readonly connectMs: number }

/**
 * @throws ConfigError where settings contradict each other, one is missing, or a file does not hold what it should
 */
export function kafkaAccess (config: StoreConfig): KafkaAccess {
  const sasl = saslOf(config)
  return {
    connectMs: config.kafkaConnectTimeoutMs,
    ...(usesTls(config) ? { ssl: clientTls({ prefix: 'KAFKA_SSL', ...tlsFiles(config) }) } : {}),
    ...(sasl === undefined ? {} : { sasl }),
  }
}

/** A password goes to the brokers for everybody on the way to read. */
export function sendsPasswordInClear (config: StoreConfig): boolean {
  return config.kafkaSaslMechanism !== undefined && !usesTls(config) && !config.kafkaSaslMechanism.startsWith('SCRAM')
}

function tlsFiles (config: StoreConfig) {
  return {
    caFile: config.kafkaSslCaFile,
    certFile: config.kafkaSslCertFile,
    keyFile: config.kafkaSslKeyFile,
    keyPassword: config.kafkaSslKeyPassword,
    serverName: config.kafkaSslServerName,
  }
}

function usesTls (config: StoreConfig): boolean {
  const parts = ['kafkaSslCaFile', 'kafkaSslCertFile', 'kafkaSslKeyFile', 'kafkaSslServerName'] as const
  const set = parts.find(key => config[key] !== undefined)
  const isIam = config.kafkaSaslMechanism === 'AWS_MSK_IAM'
  if (config.kafkaSsl === false && (set !== undefined || isIam)) {
    throw wanted('kafkaSsl', 'true', isIam ? 'kafkaSaslMechanism' : set!, 'false')
  }
  return config.kafkaSsl ?? (set !== undefined || isIam)
}

type Key = keyof StoreConfig

/** Each mechanism: what it needs, of which one each; and what it may have besides. */
const needs: Readonly<Record<SaslMechanismSetting, { some: Key[][], also: Key[] }>> = {
  PLAIN: { some: [['kafkaSaslUsername'], ['kafkaSaslPassword', 'kafkaSaslPasswordFile']], also: [] },
  'SCRAM-SHA-256': { some: [['kafkaSaslUsername'], ['kafkaSaslPassword', 'kafkaSaslPasswordFile']], also: [] },
  'SCRAM-SHA-512': { some: [['kafkaSaslUsername'], ['kafkaSaslPassword', 'kafkaSaslPasswordFile']], also: [] },
  OAUTHBEARER: {
    some: [['kafkaSaslTokenUrl', 'kafkaSaslTokenFile']],
    also: ['kafkaSaslExtensions', 'kafkaSaslTokenScope', 'kafkaSaslUsername', 'kafkaSaslPassword', 'kafkaSaslPasswordFile'],
  },
  AWS_MSK_IAM: { some: [['kafkaSaslAwsRegion']], also: [] },
}
const ofToken: Key[][] = [['kafkaSaslUsername'], ['kafkaSaslPassword', 'kafkaSaslPasswordFile']]
const ofSasl = (Object.keys(storeSettings) as Key[]).filter(key => /^kafkaSasl(?!Mechanism)/.test(key))

function saslOf (config: StoreConfig): Sasl | undefined {
  const { kafkaSaslMechanism: mechanism, kafkaSaslUsername: username, kafkaSaslExtensions: extensions } = config
  const set = ofSasl.filter(key => config[key] !== undefined)
  if (mechanism === undefined) {
    if (set.length === 0) return undefined
    throw wanted('kafkaSaslMechanism', `one of ${saslMechanisms.join(', ')}`, set[0]!)
  }
  const { some, also } = needs[mechanism]
  const groups = config.kafkaSaslTokenUrl === undefined ? some : [...some, ...ofToken]
  for (const group of groups) exactlyOneOf(config, group, 'kafkaSaslMechanism')
  const useless = set.find(key => ![...groups.flat(), ...also].includes(key))
  if (useless !== undefined) {
    throw new ConfigError(`${named(useless)}: of no use with KAFKA_SASL_MECHANISM=${mechanism}`)
  }

  if (mechanism === 'AWS_MSK_IAM') {
    return { mechanism: 'OAUTHBEARER', oauthBearerProvider: mskToken(config.kafkaSaslAwsRegion!) }
  }
  const password = passwordOf(config)
  if (mechanism !== 'OAUTHBEARER') return { mechanism, username: username!, password }
  const { kafkaSaslTokenFile: file, kafkaSaslTokenUrl: url, kafkaSaslTokenScope: scope } = config
  const token = file === undefined
    ? oauthToken({ url: url!, clientId: username!, clientSecret: password, scope })
    : renewedFile('kafkaSaslTokenFile', config)
  return {
    mechanism,
    oauthBearerProvider: async () => ({ value: await token(), ...(extensions === undefined ? {} : { extensions }) }),
  }
}

function passwordOf (config: StoreConfig): () => Promise<string> {
  const { kafkaSaslPassword: password } = config
  if (password !== undefined || config.kafkaSaslPasswordFile === undefined) return async () => password!
  const read = renewedFile('kafkaSaslPasswordFile', config)
  return async () => read()
}
