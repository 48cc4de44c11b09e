import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { installKafka, kafkaMissing, startKafka } from './kafka.js'
import { installPython, pythonMissing } from './python.js'
import { redisMissing, startRedis } from './redis.js'
import { installRegistry, registryMissing } from './registry.js'

const usage = `usage: node dist/test/cluster/servers.js install
       node dist/test/cluster/servers.js start [--brokers 1|3]`

/** Prints what is missing after all that can be downloaded was; `redis-server` comes with the system's packages. */
async function install (): Promise<void> {
  const installations = await Promise.allSettled([installKafka(), installRegistry(), installPython()])
  for (const installation of installations) if (installation.status === 'rejected') console.error(installation.reason)
  const missing = [kafkaMissing, redisMissing, registryMissing, pythonMissing].flatMap(missing => missing() ?? [])
  for (const line of missing) console.error(line)
  if (missing.length > 0) process.exitCode = 1
}

/** Runs Kafka and Redis until SIGINT or SIGTERM. */
async function start (brokers: 1 | 3): Promise<void> {
  const missing = kafkaMissing() ?? redisMissing()
  if (missing !== undefined) {
    console.error(missing)
    process.exitCode = 1
    return
  }
  const started: Array<() => unknown> = []
  const t = { teardown: (done: () => unknown) => { started.push(done) } }
  try {
    const kafka = await startKafka(t, { brokers })
    const redis = await startRedis(t)
    console.log(`KAFKA_BROKERS=${kafka.brokers.join(',')} REDIS_URL=${redis.url}`)
    const alive = setInterval(() => {}, 2 ** 30)
    await new Promise(resolve => process.once('SIGINT', resolve).once('SIGTERM', resolve))
    clearInterval(alive)
  } finally {
    for (const stop of started) await stop()
  }
}

async function main (): Promise<void> {
  const { positionals: [command], values: { brokers } } = parseArgs({
    allowPositionals: true,
    options: { brokers: { type: 'string', default: '1' } },
  })
  if (command === 'install') return await install()
  if (command === 'start' && (brokers === '1' || brokers === '3')) return await start(brokers === '3' ? 3 : 1)
  console.error(usage)
  process.exitCode = 2
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) await main()
