import { InvalidArgumentError, Option } from 'commander'
import { appNameWanted, isAppName, userKey } from '../schemas/apps.js'
import { idWanted, isId } from '../schemas/text.js'

/** For commander: any text that a gateway takes for a user id. */
export function parseUserId (text: string): string {
  if (isId(text)) return text
  throw new InvalidArgumentError(`User id: ${idWanted}.`)
}

/** The same for a room id. */
export function parseRoomId (text: string): string {
  if (isId(text)) return text
  throw new InvalidArgumentError(`Room id: ${idWanted}.`)
}

export interface AppOptions { readonly app?: string }

/** `--app`, for commands about users. */
export function appOption (help = 'whose user it is: an app of LEDGERLINE_APPS; by default that of no name'): Option {
  return new Option('--app <name>', help).argParser(text => {
    if (isAppName(text)) return text
    throw new InvalidArgumentError(`App: ${appNameWanted}.`)
  })
}

/** The user's key, by which streams and states are read. */
export function keyOf ({ app = '' }: AppOptions, userId: string): string { return userKey(app, userId) }

/** A path of the gateway, with the app that is asked about. */
export function pathOf ({ app }: AppOptions, path: string): string {
  return app === undefined ? path : `${path}${path.includes('?') ? '&' : '?'}app=${app}`
}
