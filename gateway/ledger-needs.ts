import type { TableName, Tables } from '../projections/tables/tables.js'

/** The tables that are made of the ledger. */
export const ledgerTables: readonly TableName[] = ['presence', 'routing', 'connections']

/** What has yet to take in entries of a partition of the ledger, and from which offset on it needs them. */
export interface Need { readonly who: string, readonly next: bigint }

/**
 * The one that needs most of a partition of the ledger: nothing of what it needs may be deleted, whatever its age.
 *
 * @param savedTo the first offset that no saved state includes
 */
export async function neededFrom (
  partition: number, savedTo: bigint, tables: Pick<Tables, 'position'>
): Promise<Need> {
  const needs = await Promise.all(ledgerTables.map(async (table): Promise<Need> =>
    ({ who: `the table ${table}`, next: (await tables.position(table, partition)).next })))
  const states: Need = { who: 'what is saved of users', next: savedTo }
  return needs.reduce((least, need) => need.next < least.next ? need : least, states)
}
