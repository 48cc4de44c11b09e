import type { Books, Violation } from '../evidence/audit.js'
import { type Counts, sum } from '../evidence/audit/books.js'

/** The books as a table for people, then the violations, and how many more there are. */
export function describeBooks (books: Books, told: readonly Violation[]): string {
  const { downlinks, uplinks, told: records, connections, nodes, unjudged } = books
  const lines = [
    `${number(books.entries)} entries of ${number(books.users)} users`,
    '',
    ...table('downlinks', {
      'carried over': downlinks.carried,
      requested: downlinks.requested,
      acked: -downlinks.acked,
      'skipped by their clients': -downlinks.skipped,
      expired: -downlinks.expired,
      ...prefixed('dropped', downlinks.dropped, -1),
      waiting: -downlinks.waiting,
    }),
    row('', 'difference', differenceOf(books)),
    ...table('', { 'requested again': downlinks.duplicates }),
    '',
    ...table('uplinks', {
      accepted: uplinks.accepted,
      'in their stream': uplinks.published,
      'not yet there': uplinks.due,
      repeats: uplinks.repeats,
      duplicates: uplinks.duplicates,
      'refused, gap': uplinks.refused,
      'of a session that began anew': uplinks.orphaned,
      ...prefixed('refused by edges', uplinks.refusedByEdges),
    }),
    '',
    ...Object.entries(records).flatMap(([name, { made, published, due, repeats }]) => made + repeats === 0
      ? []
      : [...table(name, { 'told by the ledger': made, 'in their stream': published, 'not yet there': due, repeats }), '']),
    ...table('connections', {
      opened: connections.opened,
      ...prefixed('closed', connections.closed),
      'open at the end': connections.open,
      'to be closed for their node': connections.closing,
      'ends told again': connections.closedAgain,
      'ends of what never opened': connections.unopened,
      'in their stream': connections.recorded,
      'not yet there': connections.due,
      repeats: connections.repeats,
    }),
    '',
    ...roomsTable(books),
    ...table('nodes', { alive: nodes.alive, stopped: nodes.stopped, lost: nodes.lost }),
  ]
  if (unjudged.entries + unjudged.records + unjudged.blocks > 0) {
    lines.push('', ...table('not judged', {
      'partitions without their beginning': unjudged.partitions,
      'entries of them': unjudged.entries,
      'ends without an opening': unjudged.ends,
      'records of the streams': unjudged.records,
      'blocks that were set aside': unjudged.blocks,
    }))
  }
  return [...lines, '', ...verdict(books, told), ''].join('\n')
}

/** Nothing where nobody has used rooms. */
function roomsTable ({ rooms }: Books): string[] {
  if (rooms.entries === 0) return []
  const { deliveries: { owed, given, unreported, due, orphaned } } = rooms
  return [
    ...table('posts', {
      requested: rooms.requested,
      numbered: rooms.numbered,
      'in their stream': rooms.published,
      'not yet there': rooms.due,
      repeats: rooms.repeats,
      'requested again': rooms.duplicates,
      'refused, room-closed': rooms.refused,
      'of uplinks': rooms.uplinks,
      'of uplinks, not yet posted': rooms.uplinksDue,
    }),
    '',
    ...table('deliveries', {
      'posts, each node with members': owed,
      'given, as nodes say': -given,
      ...prefixed('not said', unreported, -1),
      'not said yet': -due,
    }),
    row('', 'difference', owed - given - sum(unreported) - due),
    ...table('', { 'rooms that count a node that is gone': orphaned }),
    '',
  ]
}

/** What was asked for and is nowhere; 0 in books that balance. */
function differenceOf ({ downlinks }: Books): number {
  const { carried, requested, acked, skipped, expired, dropped, waiting } = downlinks
  return carried + requested - acked - skipped - expired - sum(dropped) - waiting
}

function verdict ({ violations }: Books, told: readonly Violation[]): string[] {
  const total = sum(violations)
  if (total === 0) return ['No violations.']
  const lines = told.map(({ code, text, positions }) => `${code.padEnd(22)}  ${text}  ${positions.join(', ')}`)
  if (total > told.length) lines.push(`and ${number(total - told.length)} more`)
  const counts = Object.entries(violations).map(([code, count]) => `${number(count)} ${code}`)
  return [...lines, '', `${number(total)} violations: ${counts.join(', ')}`]
}

function prefixed (name: string, counts: Counts, sign = 1): Counts {
  return Object.fromEntries(Object.entries(counts).map(([what, count]) => [`${name}, ${what}`, sign * count]))
}

/** The first row names what they are of; rows of 0 are left out, but for the first one. */
function table (title: string, counts: Counts): string[] {
  const rows = Object.entries(counts).filter(([, count], i) => count !== 0 || (i === 0 && title !== ''))
  return rows.map(([what, count], i) => row(i === 0 ? title : '', what, count))
}

function row (title: string, what: string, count: number): string {
  return `${title.padEnd(12)}  ${what.padEnd(36)}  ${number(count).padStart(15)}`
}

function number (count: number): string { return (count === 0 ? 0 : count).toLocaleString('en-US') }
