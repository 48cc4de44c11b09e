import {
  connections, downlinks, ledger, nodes, offline, posts, presence, receipts, rooms, undelivered, uplinks,
  type RecordStream,
} from '../schemas/streams.js'

/** Every stream of a log. Each has a `<stream>.rejected` beside it. */
export const streams: ReadonlyArray<RecordStream<any>> = [
  ledger, uplinks, connections, nodes, downlinks, rooms, posts, presence, receipts, offline, undelivered,
]

/** What is derived from a partition of the ledger, or of rooms, goes to the partition of the same number. */
export const asManyAsLedger: ReadonlyArray<RecordStream<any>> = [
  uplinks, connections, rooms, posts, presence, receipts, offline,
]

/** The changelog that the saved states of a cluster are at home in. */
export const statesName = 'states'

/** And those of rooms. */
export const roomStatesName = 'states.rooms'
