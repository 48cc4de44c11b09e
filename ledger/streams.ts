import {
  connections, downlinks, ledger, nodes, posts, rooms, uplinks, type RecordStream,
} from '../schemas/streams.js'

/** Every stream of a log. Each has a `<stream>.rejected` beside it. */
export const streams: ReadonlyArray<RecordStream<any>> = [ledger, uplinks, connections, nodes, downlinks, rooms, posts]

/** The changelog that the saved states of a cluster are at home in. */
export const statesName = 'states'

/** And those of rooms. */
export const roomStatesName = 'states.rooms'
