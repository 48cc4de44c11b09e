import type { CloseConnection } from './effects.js'
import type { Unwritten } from './unwritten.js'

/** What a partition of the ledger saves of itself, beside the states of its users. */
export interface SavedPartition {
  /** That their edges have not confirmed. */
  readonly closes: readonly CloseConnection[]
  /** The oldest entry of which something may become due; undefined for none. */
  readonly dueFrom: bigint | undefined
  /** Downlinks that connections were told of again, and that are not written yet. */
  readonly unwritten: readonly Unwritten[]
}

export function toSave ({ closes, dueFrom, unwritten }: SavedPartition): Buffer {
  return Buffer.from(JSON.stringify({
    closes,
    ...dueFrom === undefined ? {} : { dueFrom: String(dueFrom) },
    ...unwritten.length === 0 ? {} : { unwritten },
  }))
}

/** Empty where anybody else has saved something that is not ours. An earlier version saved the closes alone. */
export function savedIn (saved: Buffer | undefined): SavedPartition {
  const nothing = { closes: [], dueFrom: undefined, unwritten: [] }
  if (!saved) return nothing
  try {
    const found = JSON.parse(saved.toString())
    if (Array.isArray(found)) return { ...nothing, closes: withBy(found) }
    const { closes, dueFrom, unwritten } = found
    return {
      closes: Array.isArray(closes) ? withBy(closes) : [],
      dueFrom: typeof dueFrom === 'string' && /^\d{1,18}$/.test(dueFrom) ? BigInt(dueFrom) : undefined,
      unwritten: Array.isArray(unwritten) ? unwritten.filter(isUnwritten) : [],
    }
  } catch {
    return nothing
  }
}

/** An earlier version did not say who had asked. */
function withBy (closes: readonly CloseConnection[]): CloseConnection[] {
  return closes.map(close => ({ ...close, by: close.by ?? '' }))
}

function isUnwritten (value: any): value is Unwritten {
  const { userId, nodeId, connectionId, seq } = Object(value)
  return [userId, nodeId, connectionId].every(id => typeof id === 'string') && Number.isSafeInteger(seq)
}
