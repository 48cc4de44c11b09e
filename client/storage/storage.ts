/** Where a client keeps its outbox and its place among the downlinks: small texts by key. For one client at a time. */
export interface ClientStorage {
  /**
   * Everything that is kept.
   *
   * @param lost called when another client takes the storage over; nothing is written from then on
   * @throws Error where it is in use and can't be taken over
   */
  open (lost: () => void): Promise<Map<string, string>>
  /**
   * Resolves once the changes would survive a crash. They are made in the order of the map, undefined removes; a crash
   * in between leaves a first part of them.
   */
  write (changes: ReadonlyMap<string, string | undefined>): Promise<void>
  close (): Promise<void>
}

/** Keeps it for as long as the object lives: for a client that is made anew within one process. */
export function inMemory (): ClientStorage {
  const kept = new Map<string, string>()
  return {
    open: async () => new Map(kept),
    async write (changes) {
      for (const [key, value] of changes) {
        if (value === undefined) kept.delete(key)
        else kept.set(key, value)
      }
    },
    close: async () => {},
  }
}
