/*
  Short digests of what the fold remembers of a request (docs/decisions/0014-request-digests.md). The fold has nothing
  but the language itself, so they are here.
*/

const digestWords = 4

const iv = Int32Array.of(
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19)

/** Which word of the block goes where, a row for each of the ten rounds (RFC 7693, 2.7). */
const sigma = Uint8Array.of(
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
  14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3,
  11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4,
  7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8,
  9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13,
  2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9,
  12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11,
  13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10,
  6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5,
  10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)

// One digest at a time, so its working memory is made once.
const h = new Int32Array(8)
const m = new Int32Array(16)
let bytes = new Uint8Array(256)

/** Digests of late: a message to a thousand users comes a thousand times, and some others in between. */
const known = new Map<string, Int32Array>()
const knownMax = 256

/** The first 128 bits of the BLAKE2s-256 of a text in UTF-8, as four words, which are not to be changed. */
export function digestOf (text: string): Int32Array {
  let found = known.get(text)
  if (found) return found
  found = digested(text)
  if (known.size >= knownMax) known.clear()
  known.set(text, found)
  return found
}

function digested (text: string): Int32Array {
  if (text.length * 3 > bytes.length) bytes = new Uint8Array(text.length * 3)
  const length = encode(text)
  h.set(iv)
  h[0]! ^= 0x01010020 // no key, 32 bytes of digest
  for (let at = 0; ; at += 64) {
    const isLast = at + 64 >= length
    for (let i = 0; i < 16; i++) m[i] = wordAt(bytes, at + 4 * i, length)
    compress(isLast ? length : at + 64, isLast)
    if (isLast) return h.slice(0, digestWords)
  }
}

/** By hand: the language itself has no encoder, and another build's fold gets nothing but the language. */
function encode (text: string): number {
  let end = 0
  for (let i = 0; i < text.length; i++) {
    const point = text.charCodeAt(i) < 0x80 ? text.charCodeAt(i) : text.codePointAt(i)!
    if (point < 0x80) bytes[end++] = point
    else if (point < 0x800) {
      bytes[end++] = 0xc0 | point >> 6
      bytes[end++] = 0x80 | point & 0x3f
    } else {
      if (point < 0x10000) bytes[end++] = 0xe0 | point >> 12
      else {
        i++
        bytes[end++] = 0xf0 | point >> 18
        bytes[end++] = 0x80 | point >> 12 & 0x3f
      }
      bytes[end++] = 0x80 | point >> 6 & 0x3f
      bytes[end++] = 0x80 | point & 0x3f
    }
  }
  return end
}

/** The four bytes from `at`, little-endian; those behind `end` count as 0. */
function wordAt (from: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end) return from[at]! | from[at + 1]! << 8 | from[at + 2]! << 16 | from[at + 3]! << 24
  let word = 0
  for (let i = 0; at + i < end && i < 4; i++) word |= from[at + i]! << 8 * i
  return word
}

/** Variables of its own in place of a loop over arrays: a request costs 0.1 us instead of 0.8. */
function compress (length: number, isLast: boolean): void {
  let [v0, v1, v2, v3, v4, v5, v6, v7] = [h[0]!, h[1]!, h[2]!, h[3]!, h[4]!, h[5]!, h[6]!, h[7]!]
  let [v8, v9, v10, v11, v13, v15] = [iv[0]!, iv[1]!, iv[2]!, iv[3]!, iv[5]!, iv[7]!]
  let v12 = iv[4]! ^ length // far below 2^32
  let v14 = isLast ? ~iv[6]! : iv[6]!
  for (let row = 0; row < 160; row += 16) {
    v0 = (v0 + v4 | 0) + m[sigma[row]!]! | 0; v12 ^= v0; v12 = v12 >>> 16 | v12 << 16
    v8 = v8 + v12 | 0; v4 ^= v8; v4 = v4 >>> 12 | v4 << 20
    v0 = (v0 + v4 | 0) + m[sigma[row + 1]!]! | 0; v12 ^= v0; v12 = v12 >>> 8 | v12 << 24
    v8 = v8 + v12 | 0; v4 ^= v8; v4 = v4 >>> 7 | v4 << 25
    v1 = (v1 + v5 | 0) + m[sigma[row + 2]!]! | 0; v13 ^= v1; v13 = v13 >>> 16 | v13 << 16
    v9 = v9 + v13 | 0; v5 ^= v9; v5 = v5 >>> 12 | v5 << 20
    v1 = (v1 + v5 | 0) + m[sigma[row + 3]!]! | 0; v13 ^= v1; v13 = v13 >>> 8 | v13 << 24
    v9 = v9 + v13 | 0; v5 ^= v9; v5 = v5 >>> 7 | v5 << 25
    v2 = (v2 + v6 | 0) + m[sigma[row + 4]!]! | 0; v14 ^= v2; v14 = v14 >>> 16 | v14 << 16
    v10 = v10 + v14 | 0; v6 ^= v10; v6 = v6 >>> 12 | v6 << 20
    v2 = (v2 + v6 | 0) + m[sigma[row + 5]!]! | 0; v14 ^= v2; v14 = v14 >>> 8 | v14 << 24
    v10 = v10 + v14 | 0; v6 ^= v10; v6 = v6 >>> 7 | v6 << 25
    v3 = (v3 + v7 | 0) + m[sigma[row + 6]!]! | 0; v15 ^= v3; v15 = v15 >>> 16 | v15 << 16
    v11 = v11 + v15 | 0; v7 ^= v11; v7 = v7 >>> 12 | v7 << 20
    v3 = (v3 + v7 | 0) + m[sigma[row + 7]!]! | 0; v15 ^= v3; v15 = v15 >>> 8 | v15 << 24
    v11 = v11 + v15 | 0; v7 ^= v11; v7 = v7 >>> 7 | v7 << 25
    v0 = (v0 + v5 | 0) + m[sigma[row + 8]!]! | 0; v15 ^= v0; v15 = v15 >>> 16 | v15 << 16
    v10 = v10 + v15 | 0; v5 ^= v10; v5 = v5 >>> 12 | v5 << 20
    v0 = (v0 + v5 | 0) + m[sigma[row + 9]!]! | 0; v15 ^= v0; v15 = v15 >>> 8 | v15 << 24
    v10 = v10 + v15 | 0; v5 ^= v10; v5 = v5 >>> 7 | v5 << 25
    v1 = (v1 + v6 | 0) + m[sigma[row + 10]!]! | 0; v12 ^= v1; v12 = v12 >>> 16 | v12 << 16
    v11 = v11 + v12 | 0; v6 ^= v11; v6 = v6 >>> 12 | v6 << 20
    v1 = (v1 + v6 | 0) + m[sigma[row + 11]!]! | 0; v12 ^= v1; v12 = v12 >>> 8 | v12 << 24
    v11 = v11 + v12 | 0; v6 ^= v11; v6 = v6 >>> 7 | v6 << 25
    v2 = (v2 + v7 | 0) + m[sigma[row + 12]!]! | 0; v13 ^= v2; v13 = v13 >>> 16 | v13 << 16
    v8 = v8 + v13 | 0; v7 ^= v8; v7 = v7 >>> 12 | v7 << 20
    v2 = (v2 + v7 | 0) + m[sigma[row + 13]!]! | 0; v13 ^= v2; v13 = v13 >>> 8 | v13 << 24
    v8 = v8 + v13 | 0; v7 ^= v8; v7 = v7 >>> 7 | v7 << 25
    v3 = (v3 + v4 | 0) + m[sigma[row + 14]!]! | 0; v14 ^= v3; v14 = v14 >>> 16 | v14 << 16
    v9 = v9 + v14 | 0; v4 ^= v9; v4 = v4 >>> 12 | v4 << 20
    v3 = (v3 + v4 | 0) + m[sigma[row + 15]!]! | 0; v14 ^= v3; v14 = v14 >>> 8 | v14 << 24
    v9 = v9 + v14 | 0; v4 ^= v9; v4 = v4 >>> 7 | v4 << 25
  }
  h[0]! ^= v0 ^ v8
  h[1]! ^= v1 ^ v9
  h[2]! ^= v2 ^ v10
  h[3]! ^= v3 ^ v11
  h[4]! ^= v4 ^ v12
  h[5]! ^= v5 ^ v13
  h[6]! ^= v6 ^ v14
  h[7]! ^= v7 ^ v15
}

/**
 * What tells two requests of one id apart: MurmurHash3 of the payload, seeded with the name of the service. 32 bits,
 * and not 0, which stands for content that is not known.
 */
export function contentOf (service: string, payload: Uint8Array): number {
  const { length } = payload
  let hash = length
  for (let i = 0; i < service.length; i++) hash = stirred(hash, service.charCodeAt(i))
  for (let at = 0; at < length; at += 4) hash = stirred(hash, wordAt(payload, at, length))
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  hash ^= hash >>> 16
  return hash >>> 0 || 1
}

function stirred (hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = Math.imul(k << 15 | k >>> 17, 0x1b873593)
  hash ^= k
  return Math.imul(hash << 13 | hash >>> 19, 5) + 0xe6546b64 | 0
}
