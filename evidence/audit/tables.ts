import { type Books, type Counts, sum } from './books.js'

/** One of the books: what is counted, in the order in which it is read. The last row of one that balances is 0. */
export interface BooksTable {
  readonly title: string
  readonly rows: ReadonlyArray<readonly [what: string, count: number]>
}

/** The books as tables for people. Rows of 0 are left out, but for the first one of a table and its difference. */
export function tablesOf (books: Books): BooksTable[] {
  const { downlinks, uplinks, told: records, connections, nodes, unjudged } = books
  return [
    {
      title: 'downlinks',
      rows: [
        ...rows({
          'carried over': downlinks.carried,
          requested: downlinks.requested,
          acked: -downlinks.acked,
          'skipped by their clients': -downlinks.skipped,
          expired: -downlinks.expired,
          ...prefixed('dropped', downlinks.dropped, -1),
          waiting: -downlinks.waiting,
        }),
        ['difference', differenceOf(books)],
        ...others({ 'requested again': downlinks.duplicates }),
      ],
    },
    table('uplinks', {
      accepted: uplinks.accepted,
      'in their stream': uplinks.published,
      'not yet there': uplinks.due,
      repeats: uplinks.repeats,
      duplicates: uplinks.duplicates,
      'refused, gap': uplinks.refused,
      'of a session that began anew': uplinks.orphaned,
      ...prefixed('refused by edges', uplinks.refusedByEdges),
    }),
    ...Object.entries(records).filter(([, { made, repeats }]) => made + repeats > 0)
      .map(([name, { made, published, due, repeats }]) =>
        table(name, { 'told by the ledger': made, 'in their stream': published, 'not yet there': due, repeats })),
    table('connections', {
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
    ...roomsTables(books),
    table('nodes', { alive: nodes.alive, stopped: nodes.stopped, lost: nodes.lost }),
    ...unjudged.entries + unjudged.records + unjudged.blocks === 0
      ? []
      : [table('not judged', {
          'partitions without their beginning': unjudged.partitions,
          'entries of them': unjudged.entries,
          'ends without an opening': unjudged.ends,
          'records of the streams': unjudged.records,
          'blocks that were set aside': unjudged.blocks,
        })],
  ]
}

/** None where nobody has used rooms. */
function roomsTables ({ rooms: posts }: Books): BooksTable[] {
  if (posts.entries === 0) return []
  const { owed, given, unreported, due, orphaned } = posts.deliveries
  return [
    table('posts', {
      requested: posts.requested,
      numbered: posts.numbered,
      'in their stream': posts.published,
      'not yet there': posts.due,
      repeats: posts.repeats,
      'requested again': posts.duplicates,
      'refused, room-closed': posts.refused,
      'of uplinks': posts.uplinks,
      'of uplinks, not yet posted': posts.uplinksDue,
    }),
    {
      title: 'deliveries',
      rows: [
        ...rows({
          'posts, each node with members': owed,
          'given, as nodes say': -given,
          ...prefixed('not said', unreported, -1),
          'not said yet': -due,
        }),
        ['difference', owed - given - sum(unreported) - due],
        ...others({ 'rooms that count a node that is gone': orphaned }),
      ],
    },
  ]
}

/** What was asked for and is nowhere; 0 in books that balance. */
function differenceOf ({ downlinks }: Books): number {
  const { carried, requested, acked, skipped, expired, dropped, waiting } = downlinks
  return carried + requested - acked - skipped - expired - sum(dropped) - waiting
}

function prefixed (name: string, counts: Counts, sign = 1): Counts {
  return Object.fromEntries(Object.entries(counts).map(([what, count]) => [`${name}, ${what}`, sign * count]))
}

function table (title: string, counts: Counts): BooksTable { return { title, rows: rows(counts) } }

function rows (counts: Counts): BooksTable['rows'] {
  return Object.entries(counts).filter(([, count], i) => count !== 0 || i === 0)
}

function others (counts: Counts): BooksTable['rows'] { return Object.entries(counts).filter(([, count]) => count !== 0) }
