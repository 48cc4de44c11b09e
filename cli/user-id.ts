import { InvalidArgumentError } from 'commander'

const charsMax = 256

/** For commander: any text that a gateway takes for a user id. */
export function parseUserId (text: string): string {
  if (text.length > 0 && text.length <= charsMax) return text
  throw new InvalidArgumentError(`Want a user id, 1 to ${charsMax} characters.`)
}
