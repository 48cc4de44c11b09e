import { type Presence, presenceOf } from '../projections/presence.js'
import type { Tables } from '../projections/tables/tables.js'

/** Whether a user is online, and as of which place of the ledger. @param partition of the user */
export async function presenceNow (
  tables: Pick<Tables, 'get' | 'position'>, partition: number, userId: string
): Promise<Presence & { readonly asOf: { readonly position: string, readonly atMs: number } }> {
  const fields = await tables.get('presence', partition, userId)
  const { next, atMs } = await tables.position('presence', partition)
  return { ...presenceOf(userId, fields), asOf: { position: `${partition}@${next}`, atMs } }
}
