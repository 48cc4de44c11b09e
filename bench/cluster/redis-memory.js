/** Bytes that Redis has in use. @param {import('ioredis').Redis} redis */
export async function usedBytes (redis) {
  return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1])
}
