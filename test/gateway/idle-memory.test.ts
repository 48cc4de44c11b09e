import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

const module = new URL('../../gateway/idle-memory.js', import.meta.url).href

/** Lets objects live for a while, as a burst of connections does, lets go of them, and tells what is left. */
const burst = `
  const { collectWhileIdle } = await import(${JSON.stringify(module)})
  collectWhileIdle()
  let kept = []
  for (let i = 0; i < 8; i++) {
    kept.push(Array.from({ length: 40_000 }, (_, i) => ({ i, text: 'x' + i })))
    for (const end = Date.now() + 250; Date.now() < end;);
    await new Promise(resolve => setTimeout(resolve))
  }
  kept = []
  const mib = () => Math.round(process.memoryUsage().heapTotal / 2 ** 20)
  const before = mib()
  const given = setInterval(() => {
    if (mib() > before / 2 && performance.now() < 200_000) return
    clearInterval(given)
    console.log(JSON.stringify({ before, after: mib() }))
  }, 100)`

t.test('A process that has become idle gives back what a burst took', { timeout: 230_000 }, async t => {
  const { stdout } = await promisify(execFile)(process.execPath,
    ['--max-semi-space-size=32', '--input-type=module', '--eval', burst])
  const { before, after } = JSON.parse(stdout)
  t.ok(before > 30, `a burst takes memory: ${before} MiB`)
  t.ok(after <= before / 2, `and gives it back: ${after} MiB`)
})
