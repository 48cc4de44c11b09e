/** Where a client keeps its outbox and its place among the downlinks: small texts by key. For one client at a time. */
export interface ClientStorage {
  /**
   * Everything that is kept.
   *
   * @param lost called when another client takes the storage over; nothing is written from then on
   * @param isAgain by the client that had it open before: after a sleep of its page, in which it was closed, or after a
   *   `write` that rejected with the code `closed`. It is taken from nobody then
   * @throws Error where it can't be used: the client goes on in memory. With the code `busy` where another client has
   *   it: this one waits, and asks again
   */
  open (lost: () => void, isAgain?: boolean): Promise<Map<string, string>>
  /**
   * Resolves once the changes would survive a crash. They are made in the order of the map, undefined removes; a crash
   * in between leaves a first part of them.
   *
   * @throws Error where they are not kept: they come again. With the code `closed` where the storage was closed or
   *   emptied from outside: it is opened again and gets everything
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

/** What `write` throws where the storage was closed or emptied from outside. */
export function closed (reason: string): Error {
  return Object.assign(new Error(reason), { code: 'closed' })
}
