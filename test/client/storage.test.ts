import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { inFile, inMemory } from '../../client/node.js'
import { Keeper } from '../../client/storage/keeper.js'
import { closed } from '../../client/storage/storage.js'
import type { ClientStorage } from '../../client/storage/storage.js'
import { VirtualClock } from './virtual-clock.js'

const never = () => {}

t.test('inFile', async t => {
  const given = (t: { testdir (): string }) => `${t.testdir()}/ann`

  t.test('has what was written when it is opened again', async t => {
    const path = given(t)
    const first = inFile(path)
    t.strictSame(await first.open(never), new Map())
    await first.write(new Map([['a', '1'], ['b', 'two\n"☃"']]))
    await first.write(new Map<string, string | undefined>([['a', undefined], ['c', '3']]))
    await first.close()
    const second = inFile(path)
    t.strictSame(await second.open(never), new Map([['b', 'two\n"☃"'], ['c', '3']]))
    t.equal(statSync(path).mode & 0o777, 0o600)
    await second.close()
  })

  t.test('leaves out a line that a crash has cut', async t => {
    const path = given(t)
    writeFileSync(path, '[["a","1"]]\n[["a","2"],["b"')
    const storage = inFile(path)
    t.strictSame(await storage.open(never), new Map([['a', '1']]))
    await storage.write(new Map([['c', '3']]))
    await storage.close()
    t.strictSame(await reopened(path), new Map([['a', '1'], ['c', '3']]))
  })

  t.test('says which line is damaged', async t => {
    const path = given(t)
    writeFileSync(path, '[["a","1"]]\n[["a",\n[["b","2"]]\n')
    await t.rejects(inFile(path).open(never), { message: `${path} is damaged in line 2; it is ${path}.damaged now` })
    t.strictSame(await reopened(path), new Map(), 'and begins anew the next time')
    t.match(readFileSync(`${path}.damaged`, 'utf8'), /"b","2"/)
  })

  t.test('is whole again when somebody has removed the file', async t => {
    const path = given(t)
    const storage = inFile(path)
    await storage.open(never)
    await storage.write(new Map([['a', '1']]))
    rmSync(path)
    await storage.write(new Map([['b', '2']]))
    await storage.close()
    t.strictSame(await reopened(path), new Map([['a', '1'], ['b', '2']]))
  })

  t.test('can be read where nothing can be written, and is written once it can', async t => {
    const path = given(t)
    writeFileSync(path, '[["a","1"]]\n')
    mkdirSync(`${path}.new`) // where the next file would be written
    const storage = inFile(path)
    t.strictSame(await storage.open(never), new Map([['a', '1']]))
    await t.rejects(storage.write(new Map([['b', '2']])))
    rmdirSync(`${path}.new`)
    await storage.write(new Map([['c', '3']]))
    await storage.close()
    t.strictSame(await reopened(path), new Map([['a', '1'], ['b', '2'], ['c', '3']]))
  })

  t.test('does not grow without end', async t => {
    const path = given(t)
    const storage = inFile(path)
    await storage.open(never)
    const value = 'x'.repeat(100_000)
    for (let i = 0; i < 40; i++) await storage.write(new Map([['a', value + i]]))
    t.ok(statSync(path).size < 1_500_000, `${statSync(path).size} bytes`)
    await storage.close()
    t.strictSame(await reopened(path), new Map([['a', `${value}39`]]))
  })

  t.test('is for one client at a time', async t => {
    const path = given(t)
    const storage = inFile(path)
    await storage.open(never)
    await t.rejects(inFile(path).open(never), /another client of this process has it/)
    await storage.close()
    t.notOk(existsSync(`${path}.lock`))
  })

  async function reopened (path: string): Promise<Map<string, string>> {
    const storage = inFile(path)
    const kept = await storage.open(never)
    await storage.close()
    t.equal(readFileSync(path, 'utf8').split('\n').length, kept.size === 0 ? 1 : 2)
    return kept
  }
})

t.test('Keeper', async t => {
  /** A storage whose writes end when the test says so. */
  function givenKeeper () {
    const writes: Array<{ changes: Array<[string, string | undefined]>, end: (err?: Error) => void }> = []
    const failures: unknown[] = []
    const opened: unknown[] = []
    const kept = new Map<string, string>()
    const clock = new VirtualClock()
    const storage: ClientStorage = {
      open: async (_lost, isAgain) => {
        opened.push(isAgain)
        return kept
      },
      write: async changes => await new Promise((resolve, reject) => {
        writes.push({ changes: [...changes], end: err => err ? reject(err) : resolve() })
      }),
      close: async () => {},
    }
    const keeper = new Keeper(storage, { clock, failed: err => failures.push(err) })
    return { keeper, writes, failures, opened, kept, clock }
  }

  t.test('writes what one turn puts at once, and the next as one when that is done', async t => {
    const { keeper, writes } = givenKeeper()
    keeper.put('a', () => '1')
    keeper.put('b', () => '1')
    keeper.put('a', () => '2')
    await setImmediate()
    t.strictSame(writes.map(({ changes }) => changes), [[['b', '1'], ['a', '2']]])
    keeper.remove('b')
    keeper.put('c', () => '3')
    await setImmediate()
    t.equal(writes.length, 1)
    writes[0]!.end()
    await setImmediate()
    t.strictSame(writes[1]!.changes, [['b', undefined], ['c', '3']])
  })

  t.test('runs what waits once all before it is kept', async t => {
    const { keeper, writes } = givenKeeper()
    const ran: string[] = []
    keeper.whenKept(() => ran.push('nothing'))
    keeper.put('a', () => '1')
    await setImmediate()
    keeper.whenKept(() => ran.push('a'))
    keeper.put('b', () => '1')
    keeper.whenKept(() => ran.push('b'))
    t.strictSame(ran, ['nothing'])
    writes[0]!.end()
    await setImmediate()
    writes[1]!.end()
    await setImmediate()
    t.strictSame(ran, ['nothing', 'a', 'b'])
  })

  t.test('writes again with the next change what could not be written, and holds nobody up', async t => {
    const { keeper, writes, failures } = givenKeeper()
    const ran: string[] = []
    keeper.put('a', () => '1')
    keeper.put('b', () => '1')
    keeper.whenKept(() => ran.push('a'))
    await setImmediate()
    writes[0]!.end(new Error('full'))
    await setImmediate()
    t.strictSame([writes.length, ran], [1, ['a']])
    t.match(failures, [{ message: 'full' }])
    keeper.put('a', () => '2')
    await setImmediate()
    t.strictSame(writes[1]!.changes, [['b', '1'], ['a', '2']])
    writes[1]!.end(new Error('full'))
    await setImmediate()
    t.equal(failures.length, 1, 'and says it once')
    for (const err of [undefined, new Error('full')]) {
      keeper.put('a', () => '3')
      await setImmediate()
      writes.at(-1)!.end(err)
      await setImmediate()
    }
    t.equal(failures.length, 2, 'until it is another one')
  })

  t.test('goes on without a write that does not end, and writes again once it has', async t => {
    const { keeper, writes, failures, clock } = givenKeeper()
    const ran: string[] = []
    keeper.put('a', () => '1')
    await setImmediate()
    keeper.whenKept(() => ran.push('a'))
    clock.pass(10_000)
    await setImmediate()
    t.strictSame(ran, ['a'])
    t.match(failures, [{ message: 'no answer for 10000 ms' }])
    keeper.put('b', () => '2')
    await setImmediate()
    t.equal(writes.length, 1, 'another one could overtake it')
    writes[0]!.end()
    await setImmediate()
    t.strictSame(writes[1]!.changes, [['a', '1'], ['b', '2']])
  })

  t.test('opens again what was closed from outside, and writes all of it', async t => {
    const { keeper, writes, failures, opened } = givenKeeper()
    await keeper.open(never)
    await setImmediate()
    writes[0]!.end()
    keeper.put('a', () => '1')
    await setImmediate()
    writes[1]!.end()
    await setImmediate()
    keeper.put('b', () => '2')
    await setImmediate()
    writes[2]!.end(closed('gone'))
    await setImmediate()
    t.strictSame(opened, [false, true])
    t.match(writes[3]!.changes, [['owner', /-/], ['a', '1'], ['b', '2']])
    t.match(failures, [{ message: 'gone' }])
  })

  t.test('lets go while the page sleeps, and is lost where somebody else had it meanwhile', async t => {
    for (const [owner, isLost] of [[undefined, false], ['somebody', true]] as const) {
      const { keeper, writes, kept } = givenKeeper()
      let lost = 0
      await keeper.open(() => lost++)
      await setImmediate()
      kept.set('owner', String(writes[0]!.changes[0]![1]))
      writes[0]!.end()
      await setImmediate()
      keeper.sleep()
      keeper.put('a', () => '1')
      await setImmediate()
      t.equal(writes.length, 1)
      if (owner !== undefined) kept.set('owner', owner)
      const awake = keeper.wake()
      await setImmediate()
      writes[1]?.end()
      await setImmediate()
      writes[2]?.end()
      await awake
      t.equal(lost, isLost ? 1 : 0)
      t.equal(writes.length, isLost ? 1 : 3)
    }
  })

  t.test('does not close what another client has taken over', async t => {
    const storage = inMemory()
    let taken = () => {}
    let closings = 0
    const shared: ClientStorage = {
      ...storage,
      open: async lost => {
        taken()
        taken = lost
        return new Map()
      },
      close: async () => { closings++ },
    }
    const options = { clock: new VirtualClock(), failed: never }
    const [first, second] = [new Keeper(shared, options), new Keeper(shared, options)]
    let lost = 0
    await first.open(() => lost++)
    await second.open(never)
    await first.close()
    t.strictSame([lost, closings], [1, 0])
    await second.close()
    t.equal(closings, 1)
  })

  t.test('keeps nothing and waits for nothing without a storage', async t => {
    const keeper = new Keeper(undefined, { clock: new VirtualClock(), failed: never })
    keeper.put('a', () => { throw new Error('made for nobody') })
    let hasRun = false
    keeper.whenKept(() => { hasRun = true })
    t.ok(hasRun)
  })
})
