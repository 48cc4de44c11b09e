import type { DownlinkHandedOver, DownlinkSettled, PresenceChanged, UplinkAccepted } from '../../schemas/records.js'
import { offline, presence, receipts, type RecordStream, uplinks } from '../../schemas/streams.js'

export type DerivedRecord = UplinkAccepted | PresenceChanged | DownlinkSettled | DownlinkHandedOver

/** The streams that are derived from the ledger by the folds of users. */
export const derivedStreams: ReadonlyArray<RecordStream<any>> = [uplinks, presence, receipts, offline]

/** The place of each among them, by its name. */
export const placeOf = { uplinks: 0, presence: 1, receipts: 2, offline: 3 } as const
