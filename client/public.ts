/*
  The types that applications see. node.ts and browser.ts export the same names, these and their values, so that one
  program compiles and links wherever it runs; what a platform can't do says so on use.
*/
export type { ClientState } from './session.js'
export type { ClientErrorCode, EndCode } from './end-codes.js'
export type { ClientEvents, Ended, Listener } from './events.js'
export type { ReceivedDownlink } from './inbox.js'
export type { ClientOptions, SendOptions, TokenRequest } from './options.js'
export type { Payload } from './payloads.js'
export type { Accepted } from './outbox.js'
export type { ReceivedPost, Room, RoomEvents } from './room.js'
export type { ClientStorage } from './storage/storage.js'
