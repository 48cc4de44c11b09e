import { once } from 'node:events'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { endingOfMany } from '../../ledger/ending.js'

t.test('An ending of many', async t => {
  const warnings: string[] = []
  const onWarning = ({ message }: Error) => { warnings.push(message) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const wait = (ending: AbortController) =>
    Array.from({ length: 20 }, () => sleep(60_000, undefined, { signal: ending.signal }).catch(() => 'ended'))

  await t.test('ends as many waits as there are, and Node takes none for a leak', async t => {
    const ending = endingOfMany()
    const waits = wait(ending)
    await setImmediate()
    ending.abort()
    t.strictSame(new Set(await Promise.all(waits)), new Set(['ended']))
    t.strictSame(warnings, [])
  })

  await t.test('is needed for that', async t => {
    const ending = new AbortController()
    const warned = once(process, 'warning')
    const waits = wait(ending)
    await warned
    ending.abort()
    await Promise.all(waits)
    t.match(warnings, [/MaxListeners/])
  })
})
