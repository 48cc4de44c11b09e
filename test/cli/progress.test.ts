import { PassThrough } from 'node:stream'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { describeProgress, startProgress } from '../../cli/progress.js'

const counted = { label: 'audit', total: 1000, unit: 'entries' }

function stderr (isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY }) as unknown as NodeJS.WriteStream & PassThrough
  return { stream, written: () => stream.read()?.toString() ?? '' }
}

t.test('progress', async t => {
  await t.test('says how far it is, how fast, and how long it still takes', async t => {
    t.equal(describeProgress(counted, 250, 500),
      'audit  [######                  ]  25 %  250 of 1,000 entries, 500 a second, 2 s left')
    t.match(describeProgress({ ...counted, total: 1_000_000 }, 1000, 1000), /16 min 39 s left$/)
    t.match(describeProgress({ ...counted, total: 10_000_000 }, 1000, 1000), /2 h 46 min left$/)
  })

  await t.test('knows no end where there is none', async t => {
    t.equal(describeProgress({ ...counted, total: 0 }, 250, 500), 'audit  250 entries, 500 a second')
  })

  await t.test('never passes the end', async t => {
    t.match(describeProgress(counted, 1200, 1000), /\[#{24}\] {2}100 % .* 0 s left$/)
    t.notMatch(describeProgress(counted, 0, 0), /left|NaN|Infinity/)
  })

  await t.test('is a bar on a terminal, which is gone at the end', async t => {
    const { stream, written } = stderr(true)
    const progress = startProgress(counted, stream)
    progress.add(500)
    await sleep(250)
    t.match(written(), /^\raudit {2}\[#{12} {12}\] {2}50 % [^\n]*$/)
    progress.end()
    t.equal(written(), '\r\x1b[K')
    await sleep(150)
    t.equal(written(), '')
  })

  await t.test('draws nothing anew elsewhere, nor anything at all when it is not wanted', async t => {
    for (const [isTTY, wanted] of [[false, true], [true, false]] as const) {
      const { stream, written } = stderr(isTTY)
      const progress = startProgress({ ...counted, progress: wanted }, stream)
      progress.add(1)
      await sleep(150)
      progress.end()
      t.equal(written(), '')
    }
  })

  await t.test('is a line each 10 s elsewhere', async t => {
    mock.timers.enable({ apis: ['setInterval'] })
    t.teardown(() => { mock.timers.reset() })
    const { stream, written } = stderr(false)
    const progress = startProgress(counted, stream)
    progress.add(500)
    mock.timers.tick(20_000)
    progress.end()
    t.match(written(), /^audit .*\naudit .*50 % .*\n$/)
  })
})
