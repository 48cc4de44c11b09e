/* eslint-disable @stylistic/no-multi-spaces, @stylistic/space-in-parens -- it is a table */
import type { ErrorCode } from '../../schemas/errors.js'
import type { ServerFrame } from '../../schemas/frames.js'
import type { ConnectionEvent, Incoming } from './events.js'

/** Where a connection is in its life. `leaving`: it is being ended, and only what is under way is still finished. */
export const phases = ['new', 'verifying', 'opening', 'open', 'leaving', 'closing', 'closed'] as const

export type Phase = typeof phases[number]

/** By their numbers. */
export const phaseAt = { new: 0, verifying: 1, opening: 2, open: 3, leaving: 4, closing: 5, closed: 6 } as const

/** What is done with a frame or an event in a phase. */
export type Rule =
  | 'handle'
  /** It waits for a later turn, and so does what came behind it. */
  | 'wait'
  /** As `handle` for an uplink that needs no answer of ours; any other waits for `connected`. */
  | 'early'
  /** Handled as the repeat that was asked for. */
  | 'again'
  /** Handled after the frames that came before it. */
  | 'after'
  | 'ignore'
  | Ending

/** The connection is closed. */
export interface Ending { readonly code: ErrorCode, readonly reason: string }

/** By the number of the phase in `phases`: to look it up by name costs a turn a hundredth of its time. */
export type Row<T> = readonly T[]

/*
  Behind `connect` everything waits until the token is verified. After that uplinks go to the ledger with the opening,
  for their acks can't overtake its `connected`; what we would answer ourselves waits for that. What ends the connection
  waits for nothing: a goodbye, a token that comes too early, a frame that can't be read.

  While it is leaving no more is read, and what was read is handled as before.
*/
const notFirst = ending('the first frame must be connect')
const second = ending('a second connect')

const clientFrames = {
  //                      new         verifying   opening     open        leaving     closing     closed
  connect: rule(          'handle',   'wait',     'wait',     second,     second,     'ignore',   'ignore'),
  uplink: rule(           notFirst,   'wait',     'early',    'handle',   'handle',   'ignore',   'ignore'),
  downlinkAck: rule(      notFirst,   'wait',     'wait',     'handle',   'handle',   'ignore',   'ignore'),
  downlinkSkipped: rule(  notFirst,   'wait',     'wait',     'handle',   'handle',   'ignore',   'ignore'),
  ping: rule(             notFirst,   'wait',     'wait',     'handle',   'handle',   'ignore',   'ignore'),
  token: rule(            notFirst,   'wait',     'handle',   'handle',   'handle',   'ignore',   'ignore'),
  join: rule(             notFirst,   'wait',     'wait',     'handle',   'handle',   'ignore',   'ignore'),
  leave: rule(            notFirst,   'wait',     'wait',     'handle',   'handle',    'ignore',   'ignore'),
  disconnect: rule(       notFirst,   'wait',     'handle',   'handle',   'handle',   'ignore',   'ignore'),
  unreadable: rule(       'handle',   'wait',     'handle',   'handle',   'handle',   'ignore',   'ignore'),
}

function notForClients (op: ServerFrame['op']): Row<Rule> {
  const ours = ending(`${op} is not for clients to send`)
  return rule(            notFirst,   'wait',     'wait',     ours,       ours,       'ignore',   'ignore')
}

/** What is done with what a client sends. */
export const frameRules: Readonly<Record<Incoming['op'], Row<Rule>>> = {
  ...clientFrames,
  connected: notForClients('connected'),
  uplinkAck: notForClients('uplinkAck'),
  uplinkRefused: notForClients('uplinkRefused'),
  downlink: notForClients('downlink'),
  pong: notForClients('pong'),
  signal: notForClients('signal'),
  migrate: notForClients('migrate'),
  redirect: notForClients('redirect'),
  kick: notForClients('kick'),
  error: notForClients('error'),
  tokenAccepted: notForClients('tokenAccepted'),
  joined: notForClients('joined'),
  left: notForClients('left'),
  post: notForClients('post'),
}

/**
 * What is done with events. What the user actor says before `connected` is dropped: it says it again with the `welcome`
 * that is asked for then. `drained` only brings a turn about, which asks for more downlinks.
 */
export const eventRules: Readonly<Record<ConnectionEvent['type'], Row<Rule>>> = {
  //                      new         verifying   opening     open        leaving     closing     closed
  socketClosed: rule(     'handle',   'handle',   'after',    'after',    'after',    'handle',   'ignore'),
  closeConnection: rule(  'handle',   'handle',   'handle',   'handle',   'handle',   'ignore',   'ignore'),
  fail: rule(             'handle',   'handle',   'handle',   'handle',   'handle',   'ignore',   'ignore'),
  verified: rule(         'ignore',   'handle',   'ignore',   'ignore',   'ignore',   'ignore',   'ignore'),
  sendAway: rule(         'ignore',   'handle',   'ignore',   'ignore',   'ignore',   'ignore',   'ignore'),
  notOpened: rule(        'ignore',   'ignore',   'handle',   'ignore',   'ignore',   'ignore',   'ignore'),
  welcome: rule(          'ignore',   'ignore',   'handle',   'again',    'again',    'ignore',   'ignore'),
  refuseUplink: rule(     'ignore',   'ignore',   'handle',   'handle',   'handle',   'ignore',   'ignore'),
  stored: rule(           'ignore',   'ignore',   'handle',   'handle',   'handle',   'ignore',   'ignore'),
  notStored: rule(        'ignore',   'ignore',   'handle',   'handle',   'handle',   'ignore',   'ignore'),
  ackUplinks: rule(       'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  deliver: rule(          'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  signal: rule(           'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  memberships: rule(      'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  gone: rule(             'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  tokenVerified: rule(    'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  tokenRefused: rule(     'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  tokenDue: rule(         'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  migrate: rule(          'ignore',   'ignore',   'ignore',   'handle',   'ignore',   'ignore',   'ignore'),
  leave: rule(            'ignore',   'ignore',   'ignore',   'handle',   'ignore',   'ignore',   'ignore'),
  stay: rule(             'ignore',   'ignore',   'ignore',   'handle',   'handle',   'ignore',   'ignore'),
  drained: rule(          'ignore',   'ignore',   'ignore',   'ignore',   'ignore',   'ignore',   'ignore'),
}

/** What the end of a turn does. */
export interface TurnEnd {
  /** It tells what was collected, refusals and questions, and looks whether the client reads. */
  readonly answers: boolean
  /** It ends the connection once nothing is under way. */
  readonly finishes: boolean
  /** Frames that were handled are no longer counted as read; a `connect` is until its token is verified. */
  readonly letsGo: boolean
  /** The socket is read on; where it says `room`, as long as the window is not full. */
  readonly reads: 'yes' | 'no' | 'room'
}

export const turnEnds: Row<TurnEnd> = [
  /* new */       { answers: false, finishes: false, letsGo: true,  reads: 'room' },
  /* verifying */ { answers: false, finishes: false, letsGo: false, reads: 'no' },
  /* opening */   { answers: false, finishes: false, letsGo: true,  reads: 'room' },
  /* open */      { answers: true,  finishes: false, letsGo: true,  reads: 'room' },
  /* leaving */   { answers: true,  finishes: true,  letsGo: true,  reads: 'no' },
  /* closing */   { answers: false, finishes: false, letsGo: true,  reads: 'yes' },
  /* closed */    { answers: false, finishes: false, letsGo: true,  reads: 'yes' },
]

function rule (...row: [Rule, Rule, Rule, Rule, Rule, Rule, Rule]): Row<Rule> { return row }

function ending (reason: string): Ending { return { code: 'protocol', reason } }
