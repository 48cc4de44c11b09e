import { Cluster, type Redis } from 'ioredis'
import { probeKey } from './redis-refusals.js'

export interface WriteWatch {
  readonly prefix: string
  readonly everyMs?: number
  /** It leads to a replica and is connected anew, which goes on until it leads to a master. */
  demoted (reason: string): void
  /** It takes writes, again or still. */
  writable (): void
}

/**
 * Looks every second whether a connection leads to a master. One that only publishes would not notice: a replica takes
 * what is published to it, hands it to its own subscribers, and nobody else hears of it. In a Redis Cluster it is heard
 * by all nodes of the shard, so there is nothing to watch.
 *
 * @returns ends it
 */
export function watchWrites (
  redis: Redis | Cluster, { prefix, everyMs = 1_000, demoted, writable }: WriteWatch
): () => void {
  if (redis instanceof Cluster) return () => {}
  const look = () => {
    if (redis.status !== 'ready') return
    redis.set(probeKey(prefix), '', 'PX', 1_000).then(writable, (err: Error) => {
      // The connection is left by itself then, see `reconnectOnError`.
      if (err.message.startsWith('READONLY')) demoted(err.message)
    })
  }
  const timer = setInterval(look, everyMs).unref()
  return () => { clearInterval(timer) }
}
