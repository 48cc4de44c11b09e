import type { Surroundings } from '../../evidence/surroundings.js'

/** A ledger that is kept from its beginning, beside streams in which nothing stands. */
export function bare (with_: Partial<Surroundings> = {}): Surroundings {
  return {
    nowMs: 0,
    keptSince: null,
    published: async () => undefined,
    rejected: async () => undefined,
    nodeGone: async () => undefined,
    drainOf: async () => undefined,
    ...with_,
  }
}
