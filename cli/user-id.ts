import { InvalidArgumentError } from 'commander'
import { idWanted, isId } from '../schemas/text.js'

/** For commander: any text that a gateway takes for a user id. */
export function parseUserId (text: string): string {
  if (isId(text)) return text
  throw new InvalidArgumentError(`User id: ${idWanted}.`)
}
