import { spawnSync } from 'node:child_process'
import t from 'tap'
import { Memory, type MemoryUse, processMemory } from '../../gateway/memory.js'
import type { Health } from '../../schemas/conditions.js'

function given () {
  const use: { -readonly [K in keyof MemoryUse]: number } = {
    heapBytes: 0, heapBytesMax: 100, residentBytes: 0, residentBytesMax: 1_000,
  }
  let reason = ''
  let shed = 0
  const health: Health = { begin (_name, why) { reason = why }, end () { reason = '' } }
  const memory = new Memory(health, { shedReaders () { shed++ } }, () => use)
  const at = (heapBytes: number, residentBytes = 0) => {
    Object.assign(use, { heapBytes, residentBytes })
    const before = shed
    memory.sample()
    const { refusesConnects, priorityMin } = memory
    return { sheds: shed > before, refusesConnects, priorityMin, told: reason !== '' }
  }
  return { at, reason: () => reason }
}

const all = { sheds: false, refusesConnects: false, priorityMin: -Infinity, told: false }

t.test('A node whose memory becomes short', async t => {
  t.test('sheds readers, then connects, then uplinks by priority', async t => {
    const { at } = given()
    t.strictSame(at(74), all)
    t.strictSame(at(75), { ...all, sheds: true, told: true })
    t.strictSame(at(80), { ...all, sheds: true, told: true, refusesConnects: true })
    t.strictSame(at(85), { sheds: true, told: true, refusesConnects: true, priorityMin: 1 })
    t.strictSame(at(92), { sheds: true, told: true, refusesConnects: true, priorityMin: Infinity })
  })

  t.test('takes them again in the reverse order, each a little below where it was given up', async t => {
    const { at } = given()
    at(95)
    t.match(at(88), { priorityMin: Infinity })
    t.match(at(86), { priorityMin: 1 })
    t.match(at(81), { priorityMin: 1 })
    t.match(at(79), { priorityMin: -Infinity, refusesConnects: true })
    t.match(at(74), { refusesConnects: false, sheds: false, told: true })
    t.strictSame(at(69), all)
  })

  t.test('goes by the scarcer of heap and memory, and says both', async t => {
    const { at, reason } = given()
    t.match(at(10, 860), { priorityMin: 1 })
    t.match(reason(), /of the heap are in use, .* of memory/)
  })
})

t.test('What the process uses is less than it may', async t => {
  const { use, stop } = processMemory(0)
  t.teardown(stop)
  const { heapBytes, heapBytesMax, residentBytes, residentBytesMax } = use()
  t.ok(heapBytes < heapBytesMax)
  t.ok(residentBytes > 10 << 20 && residentBytes < residentBytesMax)
  const bounded = processMemory(1 << 30)
  t.teardown(bounded.stop)
  t.equal(bounded.use().residentBytesMax, 1 << 30)
})

t.test('is known while the process has no descriptor left', { skip: process.platform !== 'linux' }, async t => {
  const script = `
    import { openSync } from 'node:fs'
    import { processMemory } from ${JSON.stringify(new URL('../../gateway/memory.js', import.meta.url).href)}
    const { use } = processMemory(0)
    try { for (;;) openSync('/dev/null') } catch {}
    process.exit(use().residentBytes > 1e6 ? 0 : 1)`
  const node = [process.execPath, '--input-type=module', '-e', script]
  const { status, stderr } = spawnSync('/bin/sh', ['-c', 'ulimit -n 64 && exec "$@"', 'sh', ...node], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
})
