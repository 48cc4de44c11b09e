/*
  Preloaded into a gateway: `node --import`. Appends one line of JSON for each commit of the embedded store to the file
  that BENCH_COMMITS names: `{ atMs, puts: { KIND: count }, bytes: { KIND: keys and values } }`, by what keys begin
  with. The file should be in memory, or it is counted among what the gateway writes.
*/
import { appendFileSync, realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const flushMs = 200
const file = process.env.BENCH_COMMITS
const program = process.argv[1]
delete process.env.BENCH_COMMITS

if (isMainThread && file && program) await record()

async function record () {
  const folder = resolve(dirname(realpathSync(program)), '../ledger/embedded')
  const load = name => import(pathToFileURL(resolve(folder, name)).href)
  const [{ Batch }, { kind }] = await Promise.all([load('batch.js'), load('keys.js')])
  const names = new Map(Object.entries(kind).map(([name, first]) => [first, name]))
  const { put, remove, replay, start } = Batch.prototype
  let commit
  let lines = []

  const count = (key, bytes) => {
    const name = names.get(key[0]) ?? 'other'
    commit.puts[name] = (commit.puts[name] ?? 0) + 1
    commit.bytes[name] = (commit.bytes[name] ?? 0) + bytes
  }
  Batch.prototype.start = function () {
    commit = { atMs: 0, puts: {}, bytes: {} }
    start.call(this)
  }
  Batch.prototype.put = function (key, value) {
    count(key, key.length + value.length)
    put.call(this, key, value)
  }
  Batch.prototype.remove = function (key) {
    count(key, key.length)
    remove.call(this, key)
  }
  Batch.prototype.replay = function () {
    commit.atMs = Date.now()
    lines.push(JSON.stringify(commit))
    replay.call(this)
  }
  const flush = () => {
    if (lines.length > 0) appendFileSync(file, lines.join('\n') + '\n')
    lines = []
  }
  setInterval(flush, flushMs).unref()
  process.on('exit', flush)
}
