import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { watchFiles } from '../../gateway/watched-files.js'
import { until } from './node.js'

function given (t: Test, everyMs: number) {
  const directory = t.testdir({ one: 'a', two: 'b' })
  const paths = ['one', 'two'].map(name => join(directory, name))
  const taken: string[][] = []
  const troubles: string[] = []
  const watch = () => watchFiles({
    paths,
    everyMs,
    read: () => paths.map(path => readFileSync(path, 'utf8')),
    take (texts) {
      if (texts.includes('bad')) throw new Error('one of them is bad')
      taken.push(texts)
    },
    looked (trouble) { troubles.push(trouble) },
  })
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, 'new'), text)
    renameSync(join(directory, 'new'), join(directory, name))
  }
  const remove = (name: string) => { rmSync(join(directory, name)) }
  return { watch, taken, troubles, write, remove }
}

t.test('Files that are watched', async t => {
  // The signal would end a process in which nobody listens for it.
  const heed = () => {}
  process.on('SIGHUP', heed)
  t.teardown(() => process.off('SIGHUP', heed))

  t.test('are taken at once, and whenever one of them changes', async t => {
    const { watch, taken, write } = given(t, 10)
    t.teardown(watch())
    t.strictSame(taken, [['a', 'b']])
    write('two', 'c')
    await until('it is taken', () => taken.length === 2)
    t.strictSame(taken.at(-1), ['a', 'c'])
  })

  t.test('are looked at when a signal asks for it, and by nobody once that is over', async t => {
    const { watch, taken, write } = given(t, 3_600_000)
    const stop = watch()
    write('one', 'c')
    process.emit('SIGHUP')
    t.strictSame(taken.at(-1), ['c', 'b'])
    stop()
    write('one', 'd')
    process.emit('SIGHUP')
    t.equal(taken.length, 2)
  })

  t.test('stay in use as they were while one is away or bad, and nobody is told of what did not change', async t => {
    const { watch, taken, troubles, write, remove } = given(t, 3_600_000)
    t.teardown(watch())
    const look = () => { process.emit('SIGHUP') }
    write('one', 'bad')
    look()
    t.equal(troubles.at(-1), 'one of them is bad')
    remove('one')
    look()
    t.match(troubles.at(-1), /ENOENT/)
    write('one', 'a')
    look()
    t.equal(troubles.at(-1), '')
    t.strictSame(taken, [['a', 'b']])
  })

  t.test('are as many as there may be, with one listener to the signal for all of them', async t => {
    const [before, watched] = [process.listenerCount('SIGHUP'), Array.from({ length: 12 }, () => given(t, 3_600_000))]
    const stops = watched.map(({ watch }) => watch())
    t.equal(process.listenerCount('SIGHUP'), before + 1, 'Node.js warns of a leak where there are more than ten')
    process.emit('SIGHUP')
    for (const { troubles } of watched) t.strictSame(troubles, [''])
    for (const stop of stops) stop()
    t.equal(process.listenerCount('SIGHUP'), before)
  })

  t.test('are refused at the start where one is away or bad', async t => {
    const { watch, write, remove } = given(t, 3_600_000)
    write('one', 'bad')
    t.throws(watch, { message: 'one of them is bad' })
    remove('one')
    t.throws(watch, { code: 'ENOENT' })
  })
})
