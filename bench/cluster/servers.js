import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/**
 * Over what the tests start Kafka with, which is for a quick start: the optimising compiler, as by default, and a heap
 * of 1 GiB. Java takes this variable after its command line.
 */
export const javaOptions = '-XX:TieredStopAtLevel=4 -Xmx1g'

/**
 * Starts one broker and one Redis, as the tests of the cluster do.
 *
 * @param {string} build directory of what tsc wrote
 * @throws Error saying what to install where one is missing
 */
export async function startServers (build) {
  const load = file => import(pathToFileURL(join(build, 'test/cluster', file)).href)
  const [{ kafkaMissing, startKafka, kafkaVersion }, { redisMissing, startRedis }] =
    await Promise.all([load('kafka.js'), load('redis.js')])
  const missing = kafkaMissing() ?? redisMissing()
  if (missing !== undefined) throw new Error(missing)
  const started = []
  const t = { teardown: stop => started.push(stop) }
  const stop = async () => { for (const each of started) await each() }
  process.env['_JAVA_OPTIONS'] = javaOptions
  try {
    const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
    const pids = { kafka: kafka.pids, redis: [redis.pid] }
    return { brokers: kafka.brokers, redisUrl: redis.url, pids, kafkaVersion, stop }
  } catch (err) {
    await stop()
    throw err
  }
}
