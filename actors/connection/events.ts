import type { ErrorCode, GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { ClientFrame, Frame } from '../../schemas/frames.js'
import type { ConnectionMessage } from '../links.js'
import type { Identity } from './edge-context.js'
import type { Move } from './move.js'
import type { TokenRefusal } from './token.js'

/** What its client sends. Nothing is read behind a frame that can't be read. */
export type Incoming = Frame | { readonly op: 'unreadable', readonly error: GatewayError }

/** What reaches a connection besides the frames of its client; phases.ts says when it is heeded. */
export type ConnectionEvent =
  | ConnectionMessage
  | { readonly type: 'verified', readonly connect: ClientFrame & { op: 'connect' }, readonly identity: Identity }
  | { readonly type: 'sendAway' }
  | { readonly type: 'fail', readonly code: ErrorCode, readonly reason: string, readonly retryAfterMs?: number }
  | { readonly type: 'tokenVerified', readonly identity: Identity }
  | { readonly type: 'tokenRefused', readonly token: string, readonly refusal: TokenRefusal }
  /** The token that was being verified is to be tried again. */
  | { readonly type: 'tokenDue', readonly token: string }
  | { readonly type: 'notOpened' }
  | { readonly type: 'notStored', readonly entries: readonly Entry[], readonly error: Error }
  | { readonly type: 'stored', readonly entries: number }
  | { readonly type: 'socketClosed', readonly clean: boolean }
  | { readonly type: 'drained' }
  | Move
  /** It is to end as soon as what is under way is finished. */
  | { readonly type: 'leave' }
  /** It was asked to go, or is being ended for not having gone, and may stay. */
  | { readonly type: 'stay' }
