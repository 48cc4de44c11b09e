/**
 * A URL may hold a password before its host, and a key or a token in its query.
 *
 * @returns `text` without what a message or a log must not show; as it is where it has no URL
 */
export function shownUrl (text: string): string {
  return text.replace(/:\/\/[^/?#]*@/, '://…@').replace(/(:\/\/[^?]*\?).+$/s, '$1…')
}
