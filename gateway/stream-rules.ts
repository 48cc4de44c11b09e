import type { Config } from './config.js'

/** What requests for downlinks have in their facts of streams for business services. */
export interface StreamRules {
  /** The stream `receipts` is written. */
  readonly receipts: boolean
  /** What a request has that names no `offlineAfterMs`; undefined where the stream `offline` is not written. */
  readonly offlineAfterMs: number | undefined
}

export function streamRules ({ streamsOff, offlineAfterMs }: Config): StreamRules {
  return {
    receipts: !streamsOff.includes('receipts'),
    offlineAfterMs: streamsOff.includes('offline') ? undefined : offlineAfterMs,
  }
}
