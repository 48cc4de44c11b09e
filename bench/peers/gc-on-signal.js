/*
  Preloaded into every JavaScript server (`node --expose-gc --import`): SIGUSR2 collects garbage as thoroughly as V8
  can, so that memory per connection is what a connection holds and not what was left behind on the way. No server needs
  a hook of its own for it.
*/
import { isMainThread } from 'node:worker_threads'

if (isMainThread && globalThis.gc) {
  process.on('SIGUSR2', () => globalThis.gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }))
}
