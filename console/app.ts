import { command } from './words.js'

/** The app whose users the pages show, as the address bar names it; empty for the default one. */
export function appShown (): string {
  return new URLSearchParams(location.hash.split('?', 2)[1] ?? '').get('app') ?? ''
}

/** An address of a route that is about users of one app. */
export function ofApp (address: string): string {
  const app = appShown()
  return app === '' ? address : `${address}${address.includes('?') ? '&' : '?'}app=${encodeURIComponent(app)}`
}

/** A command that is about users of one app. */
export function appCommand (...words: string[]): string {
  const app = appShown()
  return command(...words, ...app === '' ? [] : ['--app', app])
}
