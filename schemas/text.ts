/*
  What an id and a text may be. Every door asks here: sockets, tokens, HTTP, the `downlinks` stream, the SDK and the
  commands. So no door takes what another one refuses. Nothing here needs Node.
*/

/** Bytes of UTF-8. A key of a table or a saved state is an id and a few bytes, and LMDB bounds keys. */
export const idBytesMax = 256
export const serviceBytesMax = 256
/** Several tokens of a connection may wait for their keys. */
export const tokenBytesMax = 16_384
export const platformBytesMax = 64
export const clientBytesMax = 128
/** By this one the gateway itself tells devices that a downlink was taken back: business services send to others. */
export const recallService = 'ledgerline.recall'
/** Of why a client skipped a downlink; a longer one is cut. */
export const skipReasonBytesMax = 256

/** Ids must not hold C0, DEL or C1: a person reads them in terminals and logs. */
// eslint-disable-next-line no-control-regex
const controls = /[\x00-\x1f\x7f-\x9f]/

/** Half a surrogate pair has no UTF-8, so a string with one would arrive as something else, or as another one's id. */
export function isText (value: unknown): value is string {
  return typeof value === 'string' && !/\p{Surrogate}/u.test(value)
}

/** Whether `value` may name a user, a device, a session, a message, a request or a room. */
export function isId (value: unknown): value is string {
  return isText(value) && value !== '' && utf8Fits(value, idBytesMax) && !controls.test(value)
}

/** What `isId` wants, for an error behind the field's name. */
export const idWanted = `want 1 to ${idBytesMax} bytes of well-formed UTF-8 without control characters`

/** Whether `value` is a text that takes at most `bytesMax` bytes of UTF-8. */
export function isTextWithin (value: unknown, bytesMax: number): value is string {
  return isText(value) && utf8Fits(value, bytesMax)
}

/** What `isTextWithin` wants, for an error behind the field's name. */
export function textWanted (bytesMax: number): string {
  return `want at most ${bytesMax} bytes of well-formed UTF-8`
}

/** Whether a well-formed `text` takes at most `bytesMax` bytes of UTF-8. */
export function utf8Fits (text: string, bytesMax: number): boolean {
  // A UTF-16 unit takes at most 3 bytes, so most are known to fit by their length.
  return text.length * 3 <= bytesMax || (text.length <= bytesMax && utf8Bytes(text) <= bytesMax)
}

/** As much of `text` as takes at most `bytesMax` bytes of UTF-8; half a surrogate pair becomes U+FFFD. */
export function cutText (text: string, bytesMax: number): string {
  let cut = ''
  let bytes = 0
  for (const char of text.slice(0, bytesMax)) {
    const whole = isText(char) ? char : '\ufffd'
    bytes += utf8Bytes(whole)
    if (bytes > bytesMax) break
    cut += whole
  }
  return cut
}

/** Bytes that a well-formed `text` takes as UTF-8. */
export function utf8Bytes (text: string): number {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x80) continue
    // Both halves of a surrogate pair take two bytes each.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2
  }
  return bytes
}
