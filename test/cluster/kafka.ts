import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Admin, type ITopicConfig, Kafka, logLevel } from 'kafkajs'
import { directoryOf, downloadOnce, isDownloaded, runJava, runMaven } from './download.js'
import { brokerProperties, javaOptions, type Listener, type Ports } from './kafka-settings.js'
import { findExecutable, findPort, type ServerProcess, startProcess, type Teardown } from './server-process.js'

/** The release that the tests run on; `docker-compose.yml` names the same. */
export const kafkaVersion = '4.3.1'

/** Apache Kafka on loopback; every node is broker and controller (KRaft). */
export interface TestKafka {
  /** HOST:PORT of all brokers, running or not. */
  readonly brokers: string[]
  /** Of the processes, in the order of `brokers`; a stopped one's is its last. Send SIGSTOP and SIGCONT to these. */
  readonly pids: number[]
  /** Where each keeps its partitions, in the order of `brokers`: `<topic>-<partition>/00000000000000000000.log`. */
  readonly directories: readonly string[]
  /** Resolves when the process is gone. SIGTERM is a controlled shutdown, SIGKILL a crash. */
  stopBroker (i: number, signal?: NodeJS.Signals): Promise<void>
  /** Runs a stopped broker again, with its data and on its port; resolves when it serves. */
  startBroker (i: number): Promise<void>
  /** Kills what runs and removes the data, as the teardown does. */
  stop (): Promise<void>
}

interface Node { readonly address: string, readonly propertiesPath: string, process: ServerProcess | undefined }

const server = `kafka-${kafkaVersion}`
const pom = fileURLToPath(new URL('../../../test/cluster/pom.xml', import.meta.url))
const nodeIds = [1, 2, 3]
const clusterId = 'TGVkZ2VybGluZVRlc3RzMQ'

/** One line that says what to install; undefined where Kafka can run. */
export function kafkaMissing (): string | undefined {
  if (findExecutable('java') === undefined) return 'needs Java 17 for Kafka: apt-get install openjdk-17-jre-headless'
  if (!isDownloaded(server)) return `needs Kafka ${kafkaVersion}: node dist/test/cluster/servers.js install`
  return undefined
}

/**
 * Downloads Kafka with Maven into the user's cache, and formats a data directory for each node. A test copies these,
 * which saves it a start of Java.
 *
 * @throws when Java or Maven is missing, or Maven cannot reach its repository
 */
export async function installKafka (): Promise<void> {
  await downloadOnce(server, async directory => {
    await runMaven(directory, 'copy-dependencies', '--file', pom, `-Dkafka.version=${kafkaVersion}`,
      '-DincludeScope=runtime', `-DoutputDirectory=${jarsIn(directory)}`)
    for (const id of nodeIds) await format(directory, id)
  })
}

async function format (home: string, id: number): Promise<void> {
  const directory = formattedIn(home, id)
  // What is formatted knows the cluster and the node, but no port: any will do here.
  const ports = nodeIds.map(each => ({ id: each, broker: each, controller: 10 + each }))
  await writeFile(`${directory}.properties`, brokerProperties(ports, id, directory))
  await runJava(...javaOptions(jarsIn(home)), 'kafka.tools.StorageTool', 'format', '--cluster-id', clusterId,
    '--config', `${directory}.properties`)
}

/**
 * Starts Kafka and waits until every broker knows all of them.
 *
 * @param options.properties brokers' settings over those of `kafka-settings.ts`
 * @param options.listeners further ports, of a single broker
 * @throws when a broker ends or does not serve within a minute; the message has what it wrote last
 */
export async function startKafka (
  t: Teardown, { brokers = 1, properties = {}, listeners = [] }: {
    brokers?: 1 | 3, properties?: Record<string, string>, listeners?: readonly Listener[]
  } = {}
): Promise<TestKafka> {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-kafka-'))
  const nodes: Node[] = []
  const stop = async () => {
    await Promise.all(nodes.map(async node => await node.process?.end('SIGKILL')))
    await rm(directory, { recursive: true, force: true })
  }
  t.teardown(stop)
  const ports: Ports[] = []
  for (const id of nodeIds.slice(0, brokers)) {
    ports.push({ id, broker: await findPort(), controller: await findPort() })
  }
  for (const { id, broker } of ports) {
    const data = join(directory, `${id}`)
    await cp(formattedIn(directoryOf(server), id), data, { recursive: true })
    await writeFile(`${data}.properties`, brokerProperties(ports, id, data, properties, listeners))
    nodes.push({ address: `127.0.0.1:${broker}`, propertiesPath: `${data}.properties`, process: undefined })
  }
  // All of them, also where one fails: the teardown must find no start under way.
  const outcomes = await Promise.allSettled(nodes.map(startNode))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  for (const node of nodes) await waitForBrokers(node, brokers)
  return {
    brokers: nodes.map(({ address }) => address),
    directories: ports.map(({ id }) => join(directory, `${id}`)),
    get pids () { return nodes.map(({ process }) => process!.pid) },
    stopBroker: async (i, signal = 'SIGTERM') => await nodes[i]!.process!.end(signal),
    startBroker: async i => await startNode(nodes[i]!),
    stop,
  }
}

/** A program of somebody else, as patient as a busy machine takes. */
export function outsideKafka (brokers: readonly string[], clientId = 'outside'): Kafka {
  return new Kafka({
    brokers: [...brokers],
    clientId,
    logLevel: logLevel.NOTHING,
    connectionTimeout: 20_000,
    requestTimeout: 60_000,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 60 },
  })
}

/**
 * Creates topics, and waits until their partitions have leaders. kafkajs offers that, too, and fails where the broker
 * has not heard of the topics yet.
 */
export async function createTopics (admin: Admin, topics: ITopicConfig[]): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, timeout: 60_000, topics })
  const names = topics.map(({ topic }) => topic)
  const areLed = async () => (await admin.fetchTopicMetadata({ topics: names })).topics
    .every(({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0))
  while (!await areLed().catch(() => false)) await new Promise(resolve => setTimeout(resolve, 20))
}

/** Runs one of Kafka's own tools, by the name of its class. */
export async function runKafkaTool (...args: string[]): Promise<void> {
  await runJava(...javaOptions(jarsIn(directoryOf(server))), ...args)
}

async function startNode (node: Node): Promise<void> {
  node.process = await startProcess('java', [...javaOptions(jarsIn(directoryOf(server))), 'kafka.Kafka', node.propertiesPath],
    /Kafka Server started/)
}

/** A broker serves before it has heard of the others. */
async function waitForBrokers ({ address }: Node, count: number): Promise<void> {
  const admin = outsideKafka([address]).admin()
  await admin.connect()
  try {
    while ((await admin.describeCluster()).brokers.length < count) await new Promise(resolve => setTimeout(resolve, 20))
  } finally {
    await admin.disconnect()
  }
}

function jarsIn (directory: string): string {
  return join(directory, 'jars')
}

function formattedIn (directory: string, id: number): string {
  return join(directory, `formatted-${id}`)
}
