/*
  Apps share a gateway, and their users never meet. A user is one of an app, so what names him wherever a user is named
  within the gateway is a key of both:

    KEY => USERID                 of the default app, which has no name: the id as it is
         | APP 0x1f USERID        of another one

  A room is one of an app likewise, and has a key of the same form.

  No id may hold a control character (text.ts), so no id can be taken for a key of another app. The ledger, saved
  states, tables and links know keys alone. What others read has both parts apart: `app`, empty for the default one, and
  `userId`.
*/

/** Stands between the two. */
const separator = '\u001f'

const names = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/

/** Whether `value` may name an app. */
export function isAppName (value: unknown): value is string {
  return typeof value === 'string' && names.test(value)
}

/** `isAppName` for JSON Schema. */
export const appNamePattern = names.source

/** What `isAppName` wants, for an error behind the field's name. */
export const appNameWanted = 'want 1 to 32 of a-z, 0-9 and "-", which stands at neither end'

/** A user, by what others call him. */
export interface UserOfApp {
  /** Empty for the default app. */
  readonly app: string
  readonly userId: string
}

/** @param app empty for the default one */
export function userKey (app: string, userId: string): string {
  return app === '' ? userId : `${app}${separator}${userId}`
}

export function userOf (key: string): UserOfApp {
  const at = key.indexOf(separator)
  return at < 0 ? { app: '', userId: key } : { app: key.slice(0, at), userId: key.slice(at + 1) }
}

/** The user's app; empty for the default one. */
export function appOf (key: string): string {
  const at = key.indexOf(separator)
  return at < 0 ? '' : key.slice(0, at)
}

/** The user's id within his app. */
export function userIdOf (key: string): string {
  return key.slice(key.indexOf(separator) + 1)
}

/**
 * What a stored record has of a key as bytes that stand together, whatever its stream: what others read has the app
 * apart from the id.
 */
export function storedPartOf (key: string): string { return userIdOf(key) }

/** What an answer says of a user: `app` is not there where it is the default one. */
export function shownUser (key: string): { readonly app?: string, readonly userId: string } {
  const { app, userId } = userOf(key)
  return app === '' ? { userId } : { app, userId }
}

/** For texts that people read: `ann`, or `ann of the app shop`. */
export function userInWords (key: string): string {
  const { app, userId } = userOf(key)
  return app === '' ? userId : `${userId} of the app ${app}`
}

/** A text that was made of keys, for people: `shop/ann`. */
export function withUsersInWords (text: string): string { return text.replaceAll(separator, '/') }
