import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

const module = new URL('../../ledger/embedded/store.js', import.meta.url).href
const commits = 10_000

/** Makes what a store holds old, as idling does; then commits, with collections of the young generation alone. */
const committing = (directory: string) => `
  const { openStore } = await import(${JSON.stringify(module)})
  const store = await openStore({ directory: ${JSON.stringify(directory)} })
  let done
  const key = Buffer.from([200])
  store.register({
    write (batch) { batch.put(key, Buffer.alloc(100)) },
    committed () { done() },
    failed (err) { throw err },
  })
  const commit = () => new Promise(resolve => { done = resolve; store.request(false) })
  const collectYoung = () => { for (let i = 0; i < 3; i++) gc({ type: 'minor' }) }
  for (let i = 0; i < 1_000; i++) await commit()
  for (let i = 0; i < 5; i++) {
    await commit()
    collectYoung()
  }
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < ${commits}; i++) await commit()
  collectYoung()
  console.log(process.memoryUsage().heapUsed - before)
  await store.close()`

t.test('Commits leave nothing behind that only a collection of the whole heap removes', { timeout: 230_000 }, async t => {
  const { stdout } = await promisify(execFile)(process.execPath,
    ['--expose-gc', '--input-type=module', '--eval', committing(t.testdir())])
  t.ok(Number(stdout) < 100 * commits, `${Number(stdout)} bytes after ${commits} commits`)
})
