/** Which of `partitions` a key goes to: Kafka's default partitioner, so that every Kafka client agrees with us. */
export function partitionOf (key: string, partitions: number): number {
  return (hashOf(key) & 0x7fffffff) % partitions
}

/** `murmur2` of the key's UTF-8 bytes. */
export function hashOf (key: string): number {
  const { length } = key
  // Most keys are short and ASCII: for them a loop into bytes kept for it takes 30 ns, TextEncoder 260.
  let at = 0
  for (; at < length && at < ascii.length; at++) {
    const char = key.charCodeAt(at)
    if (char > 0x7f) break
    ascii[at] = char
  }
  return at === length ? murmur2(ascii, length) : murmur2(utf8.encode(key))
}

const ascii = new Uint8Array(64)
const utf8 = new TextEncoder()

/** MurmurHash2 of 32 bits with Kafka's seed, signed as Kafka has it. */
export function murmur2 (bytes: Uint8Array, length = bytes.length): number {
  const m = 0x5bd1e995
  let hash = 0x9747b28c ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let k = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24
    k = Math.imul(k, m)
    k ^= k >>> 24
    hash = Math.imul(hash, m) ^ Math.imul(k, m)
  }
  if (at < length) {
    for (let shift = 0; at < length; at++, shift += 8) hash ^= bytes[at]! << shift
    hash = Math.imul(hash, m)
  }
  hash ^= hash >>> 13
  hash = Math.imul(hash, m)
  return hash ^ hash >>> 15
}
