/**
 * A random UUID. It names the uplinks of one device and is no secret, so it need not be had from `crypto`, of which a
 * page without a secure context has a part and React Native nothing.
 */
export function newSessionId (): string {
  const { crypto } = globalThis as { crypto?: Partial<Crypto> }
  if (crypto?.randomUUID) return crypto.randomUUID()
  const bytes = Uint8Array.from({ length: 16 }, () => 256 * Math.random())
  crypto?.getRandomValues?.(bytes)
  bytes[6] = bytes[6]! & 0x0f | 0x40
  bytes[8] = bytes[8]! & 0x3f | 0x80
  const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
