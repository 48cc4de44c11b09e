/*
  Text of others where a person reads it: on a terminal, in a line of a log. A control character could write anything
  anywhere on the screen, and a line break could forge a line of ours; what changes the direction of writing shows
  something else than is there.
*/

/** C0, DEL, C1, line and paragraph separators, bidirectional controls, the byte order mark, half a surrogate pair. */
// eslint-disable-next-line no-control-regex
const unprintable = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu

/**
 * `text` on one line, with what a terminal might obey escaped as JSON does it: `\n`, `\u001b`. JSON text stays the same
 * JSON.
 */
export function printable (text: string): string {
  return text.replace(unprintable, char => {
    const short = JSON.stringify(char).slice(1, -1)
    return short.length > 1 ? short : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
