/** Avro's `long`: zigzag, then seven bits a byte, lowest first. Only for 0 to 2^30, which is all a run needs. */
export function varintBytes (value) {
  let rest = value * 2
  let bytes = 1
  while (rest >= 128) {
    rest >>>= 7
    bytes++
  }
  return bytes
}

/** @returns the value at `at`; where it ends is not told: the frame's length is known by other means */
export function readVarint (bytes, at) {
  let value = 0
  let factor = 1
  for (;;) {
    const byte = bytes[at++]
    value += (byte & 0x7f) * factor
    if (byte < 128) return value / 2
    factor *= 128
  }
}

/** @returns {{ value: number, end: number }} the value at `at`, and where the next field begins */
export function readVarintAt (bytes, at) {
  const value = readVarint(bytes, at)
  let end = at
  while (bytes[end] >= 128) end++
  return { value, end: end + 1 }
}

/** @returns {Buffer} Avro's `long` */
export function long (value) {
  const bytes = Buffer.alloc(varintBytes(value))
  let rest = value * 2
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = rest >= 128 ? (rest & 0x7f) | 0x80 : rest
    rest >>>= 7
  }
  return bytes
}

/** @returns {Buffer} Avro's `string` or `bytes` */
export function bytesOf (value) {
  const content = Buffer.from(value)
  return Buffer.concat([long(content.length), content])
}
