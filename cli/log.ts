import type { Command } from 'commander'
import { settings } from '../gateway/config.js'
import { readStoreConfig } from '../gateway/read-config.js'
import { readEnvironment } from '../gateway/environment.js'
import { kafkaAccess } from '../gateway/kafka-access.js'
import { registryAccess } from '../gateway/registry-access.js'
import { type Environment, readSetting } from '../gateway/setting.js'
import type { LogReader } from '../ledger/log.js'
import type { RejectedAt } from '../ledger/rejected.js'
import { openRemoteLog } from '../ledger/remote.js'
import { streams } from '../ledger/streams.js'
import { CommandFailed } from './failure.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl, type GatewayOptions } from './gateway.js'
import { complain } from './print.js'

/** `--url`, `--api-key`, `--data`. */
export interface LogOptions extends GatewayOptions {}

export type OpenedLog = LogReader & { close (): Promise<void> }

export function addLogOptions (command: Command): Command {
  return addGatewayOptions(command).addHelpText('after', '\nReads from the gateway of --url or LEDGERLINE_URL; where ' +
    'there is none, from Kafka if KAFKA_BROKERS is set; else from the data directory, if no gateway has it open.')
}

/**
 * Where a command reads that looks for evidence: a running gateway that is named, over HTTP; the topics where
 * KAFKA_BROKERS is set; else the data directory if no process has it open, else the gateway at the usual URL. What is
 * damaged is skipped, and told on stderr.
 *
 * @throws CommandFailed when none of them can be read
 */
export async function openLogReader (options: LogOptions): Promise<OpenedLog> {
  const env = readEnvironment()
  if (options.url !== undefined || env['LEDGERLINE_URL']) return await openRemote(options, env)
  if (readSetting(settings.kafkaBrokers, env)!.length > 0) return await openTopics(env)
  return await openDirectory(options, env)
}

async function openRemote (options: LogOptions, env: Environment): Promise<OpenedLog> {
  const url = gatewayUrl(options, env)
  const apiKey = await findApiKey(options, env)
  return await openRemoteLog({ get: (path, signal) => ask(url, path, { apiKey, signal }), onDamage: tell })
}

async function openDirectory (options: LogOptions, env: Environment): Promise<OpenedLog> {
  const directory = readSetting(settings.dataDir, env, { [settings.dataDir.variable]: options.data })!
  // Loaded here alone: who reads from a running gateway needs no store.
  const [{ openStoredLog }, { StoreError }] = await Promise.all([
    import('../ledger/embedded/reader.js'), import('../ledger/embedded/directory.js'),
  ])
  let reason: string
  try {
    return await openStoredLog(directory, { onDamage: tell })
  } catch (err) {
    if (!(err instanceof StoreError)) throw err
    if (err.code !== 'in-use' && err.code !== 'absent') throw new CommandFailed(err.message, { cause: err })
    reason = err.message
  }
  try {
    return await openRemote(options, env)
  } catch (cause) {
    throw new CommandFailed(`${reason}; and ${(cause as Error).message}`, { cause })
  }
}

async function openTopics (env: Environment): Promise<OpenedLog> {
  const [{ openKafkaLog }, { ConfluentFormat, RegistryLog }, { SchemaRegistry }] = await Promise.all([
    import('../ledger/kafka/open.js'), import('../ledger/kafka/registry.js'), import('../schemas/registry.js'),
  ])
  const stores = readStoreConfig(env)
  const { kafkaBrokers: brokers, schemaRegistryUrl } = stores
  const topicPrefix = readSetting(settings.topicPrefix, env)!
  const records = streams.filter(({ blocks }) => !blocks)
  const format = schemaRegistryUrl === undefined
    ? undefined
    : await ConfluentFormat.open(new SchemaRegistry(schemaRegistryUrl, registryAccess(stores)), topicPrefix, records)
  const log = await openKafkaLog({
    brokers,
    topicPrefix,
    ...kafkaAccess(stores),
    clientId: stores.kafkaClientId ?? 'ledgerline-reader',
    streams: streams.map(stream => ({ stream, partitions: 0 })),
    readOnly: true,
    format,
    onRejected: tell,
    failed () {}, // it is tried again, and then the read itself fails
  })
  return format ? new RegistryLog(log, format) : log
}

/** A block was skipped. */
function tell ({ stream, partition, offset, reason }: RejectedAt): void {
  complain(`${stream} ${partition}@${offset} is skipped: ${reason}`)
}
