/**
 * Takes a storage over from any other page of the same origin: its newest user wins, as the newest connection of a
 * device does. Where a browser has no locks (no secure context) everybody is let in.
 *
 * @param lost called when another page takes it over in its turn
 * @returns what gives it back
 */
export async function takeLock (name: string, lost: () => void): Promise<() => void> {
  const { locks } = navigator
  if (locks === undefined) return () => {}
  return await new Promise((resolve, reject) => {
    let isHeld = false
    const held = locks.request(`ledgerline:${name}`, { steal: true }, async () => {
      isHeld = true
      await new Promise<void>(_resolve => resolve(_resolve))
    })
    held.catch((err: unknown) => isHeld ? lost() : reject(err))
  })
}
