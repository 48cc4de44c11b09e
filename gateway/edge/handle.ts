import type { Socket } from 'node:net'

interface Handle { reading: boolean, readonly fd?: number, readStop (): void, readStart (): void }

/** At once: a stream that is paused would read on into a buffer of its own, of 64 KB and one read. */
export function stopReading (socket: Socket): void {
  const handle = handleOf(socket)
  if (!handle?.reading) return
  handle.reading = false
  handle.readStop()
}

/** A stream that was stopped so believes that it still reads. */
export function startReading (socket: Socket): void {
  const handle = handleOf(socket)
  if (!handle || handle.reading) return
  handle.reading = true
  handle.readStart()
}

/** Number of the descriptor, which Node names on the handle alone; -1 where that is not known. */
export function fdOf (socket: Socket): number { return handleOf(socket)?.fd ?? -1 }

function handleOf (socket: Socket): Handle | null | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle
}
