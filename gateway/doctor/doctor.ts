import type { Config } from '../config.js'
import { redisAccess } from '../redis-access.js'
import { connectRedis } from '../redis.js'
import { diskFindings } from './disk.js'
import { type Finding, Findings } from './finding.js'
import { kernelFindings } from './kernel.js'
import { kafkaFindings } from './kafka.js'
import { redisFindings } from './redis.js'

/** Looks at all that a node with this configuration stands on. Changes nothing, and never rejects for what it finds. */
export async function examine (config: Config): Promise<Finding[]> {
  const { roles, connectionsMax, dataDir, redisUrl } = config
  const findings = kernelFindings({ connectionsMax: roles.includes('edge') ? connectionsMax : 0 })
  if (redisUrl === undefined) return [...findings, ...diskFindings(dataDir)]
  return [...findings, ...await kafkaFindings(config), ...await findingsOfRedis(config)]
}

async function findingsOfRedis (config: Config): Promise<Finding[]> {
  const findings = new Findings('redis')
  try {
    const redis = await connectRedis(config.redisUrl!, redisAccess(config))
    try {
      return await redisFindings(redis, config.topicPrefix)
    } finally {
      redis.disconnect()
    }
  } catch (err) {
    const { message, cause } = err as Error
    findings.judge('connection', cause instanceof Error ? `${message} (${cause.message})` : message, false, {
      verdict: 'fatal',
      wanted: 'a Redis that answers',
      why: 'Tables, saved states and the links between nodes are in it.',
      fix: 'start it, or name another with REDIS_URL',
    })
    return findings.all
  }
}
