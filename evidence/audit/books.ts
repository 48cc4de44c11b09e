import type { ViolationCode } from './violation.js'

/** How often, by reason or code. */
export type Counts = Record<string, number>

/**
 * What an audit adds up, over the part of the ledger that it was asked about.
 *
 * Downlinks are counted once for each session that a request was for, or once where there was none:
 * carried + requested = acked + skipped + expired + dropped + waiting.
 */
export interface Books {
  entries: number
  /** Users in each partition, judged with the state that their first entry begins. */
  users: number
  downlinks: {
    /** Waiting where the range begins. */
    carried: number
    requested: number
    /** Requests whose id had been there before: they count for nothing else. */
    duplicates: number
    acked: number
    /** The client's application failed at them, and went on. */
    skipped: number
    expired: number
    dropped: Counts
    /** In an outbox, or in the waiting list of a user without a session, where the range ends. */
    waiting: number
  }
  uplinks: {
    accepted: number
    duplicates: number
    /** After a gap; the client sends them again. */
    refused: number
    /** On a connection whose session the device had begun anew. */
    orphaned: number
    /** Before the ledger, by code, as far as edges told. */
    refusedByEdges: Counts
    /** Records of the stream `uplinks` that were found to be what was accepted. */
    published: number
    /** Identical repeats of such records, which a takeover in a cluster may leave. */
    repeats: number
    /** Accepted at the end of the range, and not in the stream yet. */
    due: number
  }
  /** Records that tell business services of users, by stream. */
  told: Record<'presence' | 'receipts' | 'offline', {
    /** By the folds. */
    made: number
    /** Found in the stream to be what was made. */
    published: number
    repeats: number
    /** Made at the end of the range, and not in the stream yet. */
    due: number
  }>
  connections: {
    opened: number
    closed: Counts
    /** Where the range ends, on a node that lives. */
    open: number
    /** Their node ended a moment ago: whoever watches it has yet to close them. */
    closing: number
    /** Ends of connections that had ended: repeats, and what a node tells that was taken for lost. */
    closedAgain: number
    /** Ends of connections that never opened: the ledger was away when they came. */
    unopened: number
    recorded: number
    repeats: number
    due: number
  }
  rooms: {
    /** Of the stream `rooms`. */
    entries: number
    rooms: number
    /** requested = numbered + duplicates + refused. */
    requested: number
    numbered: number
    /** Requests, or uplinks, that had been there before. */
    duplicates: number
    /** By a room that was closed. */
    refused: number
    /** Records of the stream `posts` that were found to be what was numbered. */
    published: number
    /** Repeats of these records, which a takeover in a cluster may leave. */
    repeats: number
    /** Numbered at the end of the range, and not in `posts` yet. */
    due: number
    /** Accepted uplinks that name a room and are posted, and those that are still to be. */
    uplinks: number
    uplinksDue: number
    /** Counted once for each post and node that had members then: owed = given + unreported + due. */
    deliveries: {
      owed: number
      /** Nodes say that they gave them to their members. */
      given: number
      /** By how the node ended its stay: `left`, its last member was gone; `node-lost`. */
      unreported: Counts
      /** Of nodes that live. */
      due: number
      /** Stays of nodes that are gone, which nobody has ended yet: the next post, or join, does. */
      orphaned: number
    }
  }
  nodes: { alive: number, lost: number, stopped: number }
  /** What could not be judged. */
  unjudged: {
    /** Retention has taken their beginning, and what these entries, ends and records begin with. */
    partitions: number
    entries: number
    ends: number
    records: number
    /** Blocks of the ledger that are not there: damaged or not to be decoded, they were set aside. */
    blocks: number
  }
  violations: Partial<Record<ViolationCode, number>>
}

export function newBooks (): Books {
  return {
    entries: 0,
    users: 0,
    downlinks: { carried: 0, requested: 0, duplicates: 0, acked: 0, skipped: 0, expired: 0, dropped: {}, waiting: 0 },
    uplinks: {
      accepted: 0, duplicates: 0, refused: 0, orphaned: 0, refusedByEdges: {}, published: 0, repeats: 0, due: 0,
    },
    told: { presence: newTold(), receipts: newTold(), offline: newTold() },
    connections: {
      opened: 0, closed: {}, open: 0, closing: 0, closedAgain: 0, unopened: 0, recorded: 0, repeats: 0, due: 0,
    },
    rooms: {
      entries: 0,
      rooms: 0,
      requested: 0,
      numbered: 0,
      duplicates: 0,
      refused: 0,
      published: 0,
      repeats: 0,
      due: 0,
      uplinks: 0,
      uplinksDue: 0,
      deliveries: { owed: 0, given: 0, unreported: {}, due: 0, orphaned: 0 },
    },
    nodes: { alive: 0, lost: 0, stopped: 0 },
    unjudged: { partitions: 0, entries: 0, ends: 0, records: 0, blocks: 0 },
    violations: {},
  }
}

function newTold () { return { made: 0, published: 0, repeats: 0, due: 0 } }

export function count (counts: Counts, what: string, by = 1): void {
  counts[what] = (counts[what] ?? 0) + by
}

export function sum (counts: Partial<Counts>): number {
  return Object.values(counts).reduce<number>((total, of = 0) => total + of, 0)
}
