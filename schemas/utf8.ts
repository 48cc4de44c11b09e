/*
  UTF-8 for what also runs where there is no TextEncoder or TextDecoder (React Native), or only one that takes no
  options (most polyfills): there by hand. Which one it is is settled at import.
*/

/** Half a surrogate pair becomes U+FFFD, as in TextEncoder. */
export const encodeUtf8: (text: string) => Uint8Array<ArrayBuffer> = nativeEncode() ?? encodeByHand

/** A byte order mark stays. @throws TypeError where the bytes are not UTF-8 */
export const decodeUtf8: (bytes: Uint8Array) => string = nativeDecode() ?? decodeByHand

function nativeEncode (): typeof encodeUtf8 | undefined {
  if (typeof TextEncoder !== 'function') return undefined
  const encoder = new TextEncoder()
  return text => encoder.encode(text)
}

function nativeDecode (): typeof decodeUtf8 | undefined {
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    return bytes => decoder.decode(bytes)
  } catch {
    return undefined
  }
}

export function encodeByHand (text: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = []
  for (const char of text) {
    let point = char.codePointAt(0)!
    if (point >= 0xd800 && point < 0xe000) point = 0xfffd
    const more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3
    bytes.push(more === 0 ? point : (0xff00 >> more + 1 & 0xff) | point >> 6 * more)
    for (let left = more - 1; left >= 0; left--) bytes.push(0x80 | (point >> 6 * left & 0x3f))
  }
  return Uint8Array.from(bytes)
}

/** The smallest code point that takes so many bytes more: a shorter form is the only one allowed. */
const pointMin = [0, 0x80, 0x800, 0x10000]

export function decodeByHand (bytes: Uint8Array): string {
  let text = ''
  for (let pos = 0; pos < bytes.length;) {
    const first = bytes[pos++]!
    const more = first < 0x80 ? 0 : first < 0xc0 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf8 ? 3 : -1
    let point = more === 0 ? first : first & (0x3f >> more)
    for (let left = more; left > 0; left--) {
      const next = bytes[pos++] ?? 0
      if ((next & 0xc0) !== 0x80) malformed()
      point = point << 6 | (next & 0x3f)
    }
    if (more < 0 || point < pointMin[more]! || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) malformed()
    text += String.fromCodePoint(point)
  }
  return text
}

function malformed (): never {
  throw new TypeError('not UTF-8')
}
