import { type CodeKind, codeKinds, type LoadAnswer, type Values } from '../gateway/console/load-history.js'
import { linkTo } from './hooks.js'
import { command, countOf, curl } from './words.js'
import { appCommand, ofApp } from './app.js'
import type { Wrong } from './wrong.js'

/** What is seen by its code alone: no part of a node is unwell, and yet somebody has trouble. */
interface Sign {
  readonly title: string
  readonly text: string
  readonly mends: string
  readonly isGrave: boolean
  /** In five minutes: so many are worth a word, and so many for each open connection. */
  readonly atLeast: number
  readonly perConnection: number
}

export const signsOverMs = 300_000

const few = { atLeast: 3, perConnection: 0 }
/** What phones do every day: only where many do is something wrong. */
const many = { atLeast: 3, perConnection: 0.02 }

const grave = (title: string, text: string, mends: string, when = few): Sign =>
  ({ title, text, mends, isGrave: true, ...when })
const worth = (title: string, text: string, mends: string, when = few): Sign =>
  ({ title, text, mends, isGrave: false, ...when })

/** By kind, then by code (docs/errors.md). */
const signs: Readonly<Record<CodeKind, Readonly<Record<string, Sign>>>> = {
  ended: {
    'slow-consumer': worth('Clients read too slowly',
      'More waited for them than a write queue takes, so their connections were ended. They resume and get the rest.',
      'Look who they are: one device that stands still, one network, or a service that sends more than a phone takes. ' +
        'Send it less at a time: a connection may have 1 MiB waiting.'),
    'heartbeat-timeout': worth('Clients fall silent',
      'Nothing came from them for longer than a heartbeat, and their sockets were never closed: their network, a NAT or a firewall drops what they send.',
      'Look how long they lasted: about the same time each is a NAT that forgets quiet connections. Set LEDGERLINE_HEARTBEAT_MS well below that time.',
      many),
    'connection-lost': worth('Sockets break', 'Connections were reset: by a client that was killed, or by what stands between.',
      'Look whether they have a network, a release of the app or a proxy in common.', { atLeast: 10, perConnection: 0.1 }),
    'bad-token': grave('Clients are refused for their tokens',
      'A signature, issuer or audience is not what this gateway takes. Those clients stay away until somebody acts.',
      'Sign tokens with the key that the gateway checks: LEDGERLINE_JWT_SECRET, or the key set of LEDGERLINE_JWKS_URL. The log says what was wrong with ' +
        'each; `ledgerline token USER` makes one that is good.'),
    'token-expired': worth('Clients come with tokens that have expired', 'They come back with a fresh one, if their application gives them one.',
      'Have the application ask for a new token in time; compare the clocks of the issuer and of the nodes.', many),
    'token-early': worth('Clients come with tokens that are not valid yet', 'The clock of their issuer is ahead of that of the nodes.',
      'Set the clocks: NTP on the machines of the issuer and of the nodes.'),
    kicked: worth('Users are kicked again and again',
      'The login policy, an operator or a service ends connections for good, and the applications connect again: devices push each other out.',
      'Look which users, and which devices of theirs: an application must not connect again by itself after `kicked`; or choose another LEDGERLINE_LOGIN_POLICY.',
      { atLeast: 8, perConnection: 0.02 }),
    superseded: worth('Devices push themselves out',
      'A device opens a newer connection while it has one: two processes or tabs use the same device id, and each ends the other.',
      'Give each installation a device id of its own, and have the application stay away after `superseded`.',
      { atLeast: 8, perConnection: 0.02 }),
    banned: worth('Banned clients knock again and again', 'They are refused, and do not stop.',
      'Have the application stay away after `banned`; or lift the ban.', { atLeast: 20, perConnection: 0.02 }),
    'bad-frame': grave('Clients send what is no frame', 'Their connections are ended for good: another protocol, or a client that is broken.',
      'Look which client and which release; docs/protocol.md says what a frame is.'),
    protocol: grave('Clients break the protocol', 'A frame came out of order, or acked what was never sent.',
      'Look which client and which release: it has a fault.'),
    'rate-limited': worth('Clients send too fast', 'They were told to wait, and came back.',
      'Look who they are; LEDGERLINE_FRAME_RATE and LEDGERLINE_BYTE_RATE are what a connection may send.'),
    internal: grave('Connections end by a fault of the gateway', 'The log has an error for each.', 'Read the log of the node, and report the fault.',
      { atLeast: 1, perConnection: 0 }),
  },
  refused: {
    throttled: worth('Uplinks are refused for their rate', 'Senders are over their rate; their clients wait and send again.',
      'Look at what they send: LEDGERLINE_USER_BYTE_RATE and LEDGERLINE_FRAME_RATE are their bounds.', { atLeast: 50, perConnection: 0.1 }),
    overloaded: grave('Uplinks are refused for overload', 'More comes than the nodes can process. Clients wait and send again.',
      'Add nodes or take faster cores, or send less: see the conditions overload and memory.'),
    'ledger-unavailable': grave('Uplinks are refused because the ledger is away', 'Nothing is lost: clients keep what they send, and send it again.',
      'Bring back what the ledger is in: the disk of the node, or Kafka. See the condition ledger.'),
  },
  settled: {
    'outbox-full': grave('Outboxes are full: downlinks are dropped',
      'Devices ack nothing for so long that the gateway drops their oldest downlinks. These are lost to the device, which is told how many it missed.',
      'Find out why these devices do not ack: they are away for long, or their application does not ack. Send less, or with a shorter ttlMs; ' +
        'LEDGERLINE_OUTBOX_BYTES_MAX is the bound of a session.'),
    'waiting-full': worth('Downlinks for users who never connect are dropped', 'More waits for their first session than is kept.',
      'Send only to users who have the app, or with a shorter ttlMs.'),
    skipped: grave('Applications fail at downlinks, which are skipped',
      'A handler of the application failed at a message at every try, so the client went on without it.',
      'Mend the handler, then send the messages again (`ledgerline redeliver`). The trace of one has the error of the application.'),
    ttl: worth('Downlinks expire before anybody takes them', 'Their time to live was over before a device acked them.',
      'Send them with a longer ttlMs, or do not send them to users who are away.', { atLeast: 20, perConnection: 0.05 }),
  },
}

/** What has happened too often within the last five minutes, by the history of the load. */
export function signsIn (load: LoadAnswer): Wrong[] {
  const open = load.nodes.reduce((sum, { connections }) => sum + (connections.at(-1) ?? 0), 0)
  return codeKinds.flatMap(kind => Object.entries(load[kind]).flatMap(([code, rates]) => {
    const sign = signs[kind][code]
    const count = Math.round(countIn(rates, load))
    if (!sign || count < Math.max(sign.atLeast, sign.perConnection * open)) return []
    const { title, text, mends, isGrave } = sign
    return [{
      key: `${kind} ${code}`,
      title: `${title}: ${countOf(count, 'time')} in the last five minutes (${code})`,
      text,
      mends,
      isGrave,
      command: commandFor(kind, code),
      link: linkFor(kind, code),
    }]
  }))
}

/** How many there were, by their rates in the samples of the last five minutes. */
function countIn (rates: Values, { atMs, everyMs }: LoadAnswer): number {
  const sinceMs = (atMs.at(-1) ?? 0) - signsOverMs
  return rates.reduce<number>((sum, rate, i) => {
    if (rate === null || atMs[i]! <= sinceMs) return sum
    const seconds = (i === 0 ? everyMs : atMs[i]! - atMs[i - 1]!) / 1_000
    return sum + rate * seconds
  }, 0)
}

/** Those that never opened a connection are in no history. */
const beforeOpening: ReadonlySet<string> = new Set(['bad-token', 'token-expired', 'token-early', 'banned'])

function commandFor (kind: CodeKind, code: string): string {
  if (kind === 'settled') return curl(ofApp(`/v1/streams/receipts?since=10m&code=${code}`))
  if (kind === 'ended' && !beforeOpening.has(code)) return appCommand('history', '--code', code, '--since', '10m')
  return command('doctor')
}

function linkFor (kind: CodeKind, code: string): Wrong['link'] {
  if (kind === 'ended' && !beforeOpening.has(code)) return { text: 'Who they are', to: linkTo('ends', '', { code }) }
  if (kind === 'settled') return { text: 'Which users and messages', to: linkTo('receipts', '', { code }) }
  return undefined
}
