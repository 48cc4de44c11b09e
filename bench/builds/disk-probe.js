/*
  What a disk takes for `fdatasync` by itself: writes into a file whose bytes are there already, as a store that grows
  its file ahead does, and syncs, at a fixed rate. Its parent sends `{ bytes, perSecond, windowMs }` over IPC and gets
  the times, ms each.

    node disk-probe.js DIRECTORY
*/
import { fdatasyncSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const fileBytes = 64 << 20
const chunk = Buffer.alloc(1 << 20, 1)
const file = openSync(join(process.argv[2], 'probe'), 'w', 0o600)
for (let at = 0; at < fileBytes; at += chunk.length) writeSync(file, chunk, 0, chunk.length, at)
fsyncSync(file)

process.on('message', async ({ bytes, perSecond, windowMs }) => {
  const buffer = Buffer.alloc(Math.min(bytes, fileBytes), 2)
  const taken = []
  const everyMs = 1000 / perSecond
  let at = 0
  const startMs = performance.now()
  for (let i = 0; performance.now() - startMs < windowMs; i++) {
    const dueMs = startMs + i * everyMs
    while (performance.now() < dueMs) await (dueMs - performance.now() > 2 ? wait(1) : new Promise(setImmediate))
    const beginMs = performance.now()
    writeSync(file, buffer, 0, buffer.length, at)
    fdatasyncSync(file)
    taken.push(performance.now() - beginMs)
    at = at + 2 * buffer.length > fileBytes ? 0 : at + buffer.length
  }
  process.send(taken)
})
process.on('disconnect', () => process.exit(0))
process.send('ready')
