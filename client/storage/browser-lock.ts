/**
 * Takes a storage over from any other page of the same origin: its newest user wins, as the newest connection of a
 * device does. Where a browser has no locks (no secure context) everybody is let in.
 *
 * @param isAgain takes it from nobody
 * @param lost called when another page takes it over in its turn
 * @returns what gives it back
 * @throws Error `busy` where another page has it; that of the browser where it forbids locks
 */
export async function takeLock (name: string, isAgain: boolean, lost: () => void): Promise<() => void> {
  const locks = globalThis.navigator?.locks
  if (locks === undefined) return () => {}
  return await new Promise((resolve, reject) => {
    let isHeld = false
    const held = locks.request(`ledgerline:${name}`, isAgain ? { ifAvailable: true } : { steal: true }, async lock => {
      if (lock === null) throw Object.assign(new Error('another page has the storage'), { code: 'busy' })
      isHeld = true
      await new Promise<void>(_resolve => resolve(_resolve))
    })
    held.catch((err: unknown) => isHeld ? lost() : reject(err))
  })
}
