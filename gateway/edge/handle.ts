import type { Socket } from 'node:net'

interface Handle { reading: boolean, readStop (): void, readStart (): void }

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

function handleOf (socket: Socket): Handle | null | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle
}
