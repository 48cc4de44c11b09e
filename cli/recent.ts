import type { Recent, RecentItem } from '../evidence/recent.js'
import type { RecentPosts } from '../evidence/rooms/recent.js'
import type { LogOptions } from './log.js'
import { timeText } from './moment.js'
import { ownCommand, quoted } from './self.js'
import type { AppOptions } from './user-id.js'

/* What `trace` lists where nothing is named that it could trace: a line for each thing, and a command for each. */

type Where = LogOptions & AppOptions

/** What there is of a user. */
export function describeRecent ({ userId, items, more, isUnknown, knownSince }: Recent, options: Where): string {
  const kept = knownSince ? ` that is kept, from ${knownSince.position} on,` : ''
  if (isUnknown) return `No entry of the ledger${kept} is of a user ${userId}.\n`
  if (items.length === 0) return `The ledger${kept} has no message and no connection of ${userId}.\n`
  const command = `${ownCommand()} trace ${quoted(userId)}${whereInWords(options)}`
  return listed(items.map(item => {
    const [what, option] = inWords(item)
    return { ...item, what, command: `${command} ${option}` }
  }), more)
}

/** The last posts of a room. */
export function describeRecentPosts (recent: RecentPosts, options: Where): string {
  const { roomId, items, more, isUnknown, knownSince } = recent
  const kept = knownSince ? ` that is kept, from ${knownSince.position} on,` : ''
  if (isUnknown) return `No entry of the stream rooms${kept} is of a room ${roomId}.\n`
  if (items.length === 0) return `The stream rooms${kept} has no post in ${roomId}.\n`
  const command = `${ownCommand()} trace --room ${quoted(roomId)}${whereInWords(options)}`
  return listed(items.map(({ position, atMs, roomSeq, messageId, from, service, payloadBytes }) => ({
    position,
    atMs,
    what: `post ${roomSeq === null ? '' : `${roomSeq} `}of ${from === '' ? 'business' : from}${ofService({ service })}, ` +
      `${payloadBytes} byte${payloadBytes === 1 ? '' : 's'}`,
    command: `${command} --message ${quoted(messageId)}`,
  })), more)
}

interface Listed { readonly position: string, readonly atMs: number, readonly what: string, readonly command: string }

function listed (items: readonly Listed[], more: number): string {
  return [
    ...items.flatMap(({ position, atMs, what, command }) =>
      [`${timeText(atMs)}  ${position.padEnd(10)}  ${what}`, `    ${command}`]),
    ...more > 0 ? [`and ${more} older: --limit ${items.length + more}`] : [],
    '',
  ].join('\n')
}

function whereInWords ({ url, data, app }: Where): string {
  return [['--url', url], ['--data', data], ['--app', app]]
    .flatMap(([name, value]) => value === undefined ? [] : [` ${name} ${quoted(value)}`]).join('')
}

/** @returns what it is, and the option that names it */
function inWords (item: RecentItem): [string, string] {
  switch (item.type) {
    case 'downlink': return [`downlink ${item.messageId}${ofService(item)}`, `--message ${quoted(item.messageId)}`]
    case 'uplink':
      return [`uplink ${item.seq} of session ${item.sessionId}${ofService(item)}`,
        `--uplink ${quoted(`${item.sessionId}:${item.seq}`)}`]
    case 'connection':
      return [`connection ${item.connectionId} of ${item.deviceId} (${item.platform}), ${item.code || 'open'}`,
        `--connection ${quoted(item.connectionId)}`]
  }
}

function ofService ({ service }: { readonly service: string }): string { return service === '' ? '' : ` [${service}]` }
