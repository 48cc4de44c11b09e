/** The types that applications see, of Node and of browsers alike. */
export type { SendOptions } from './client.js'
export type { ClientEvents, Ended, Listener } from './events.js'
export type { ReceivedDownlink } from './inbox.js'
export type { ClientOptions, TokenRequest } from './options.js'
export type { Accepted } from './outbox.js'
export type { ClientStorage } from './storage/storage.js'
