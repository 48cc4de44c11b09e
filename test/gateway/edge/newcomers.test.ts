import t from 'tap'
import { Lingerers } from '../../../gateway/edge/lingerers.js'
import { Newcomers } from '../../../gateway/edge/newcomers.js'

interface Socket { readonly name: string, readonly acceptedAt: number }

function given ({ max = 100, networkMax = 100, graceTicks = 10 } = {}) {
  const clock = { ticks: 1_000 }
  const putOut: string[] = []
  const newcomers = new Newcomers<Socket>({
    max,
    networkMax,
    isYoung: ({ acceptedAt }) => clock.ticks - acceptedAt <= graceTicks,
    putOut: ({ name }) => { putOut.push(name) },
  })
  const open = (name: string, network?: string) => {
    const socket = { name, acceptedAt: clock.ticks }
    newcomers.add(socket, network)
    return socket
  }
  return { clock, putOut, newcomers, open }
}

t.test('A socket whose client has not said yet who it is', async t => {
  t.test('is put out for another one of its address when that has too many', async t => {
    const { clock, putOut, newcomers, open } = given({ networkMax: 3 })
    open('other', 'b')
    for (const name of ['a1', 'a2', 'a3']) open(name, 'a')
    clock.ticks += 11
    t.ok(newcomers.hasRoom('a'))
    open('a4', 'a')
    open('a5', 'a')
    t.strictSame(putOut, ['a1', 'a2'], 'those that have been silent for longest')
    t.equal(newcomers.size, 4)
  })

  t.test('is put out for one of another address when there are too many of all', async t => {
    const { clock, putOut, newcomers, open } = given({ max: 3 })
    for (const name of ['a1', 'a2', 'a3']) open(name, 'a')
    clock.ticks += 11
    t.ok(newcomers.hasRoom('b'))
    open('b1', 'b')
    t.strictSame(putOut, ['a1'])
  })

  t.test('has a second to say who it is before it is put out', async t => {
    const { clock, newcomers, open } = given({ max: 3, networkMax: 2 })
    open('a1', 'a')
    open('a2', 'a')
    clock.ticks += 10
    t.notOk(newcomers.hasRoom('a'))
    t.ok(newcomers.hasRoom('b'))
    open('b1', 'b')
    t.notOk(newcomers.hasRoom('c'), 'whoever comes then has to wait')
    clock.ticks += 1
    t.ok(newcomers.hasRoom('a'))
    t.ok(newcomers.hasRoom('c'))
  })

  t.test('is not counted any more once it has said so, or is gone', async t => {
    const { newcomers, open } = given({ networkMax: 1 })
    const first = open('a1', 'a')
    t.equal(newcomers.delete(first), true)
    t.equal(newcomers.delete(first), false)
    t.ok(newcomers.hasRoom('a'))
    t.equal(newcomers.size, 0)
  })

  t.test('is put out for those of many addresses, too, and for those that count for none', async t => {
    const { putOut, newcomers, open } = given({ max: 3, networkMax: 2 })
    open('a1', 'a')
    open('x1')
    open('b1', 'b')
    open('x2')
    open('c1', 'c')
    t.strictSame(putOut, ['a1', 'x1'])
    t.equal(newcomers.size, 3)
  })

  t.test('stays while it waits for an answer: the one that has been idle for longest goes', async t => {
    const { putOut, newcomers, open } = given({ max: 3, graceTicks: -1 })
    const [a, b] = [open('a', 'n'), open('b', 'n'), open('c', 'n')]
    newcomers.setIdle(a!, false)
    open('d', 'm')
    t.strictSame(putOut.splice(0), ['b'], 'not the first one, which waits')
    newcomers.setIdle(a!, true)
    open('e', 'm')
    t.strictSame(putOut.splice(0), ['c'], 'its time begins with its answer')
    newcomers.setIdle(b!, false)
    t.notOk(newcomers.has(b!), 'and what is gone stays gone')
  })

  t.test('goes itself where all others wait for an answer', async t => {
    const { putOut, newcomers, open } = given({ max: 2, networkMax: 1, graceTicks: -1 })
    for (const name of ['a', 'b']) newcomers.setIdle(open(name, name), false)
    t.notOk(newcomers.hasRoom('c'))
    open('c', 'c')
    open('b2', 'b')
    t.strictSame(putOut, ['c', 'b2'])
    t.equal(newcomers.size, 2)
  })

  t.test('counts for another address once that is known', async t => {
    const { putOut, newcomers, open } = given({ networkMax: 1, graceTicks: -1 })
    const through = open('through', 'proxy')
    open('a1', 'a')
    newcomers.setIdle(through, false)
    newcomers.move(through, 'a')
    t.strictSame(putOut, ['a1'])
    open('next', 'proxy')
    t.strictSame(putOut, ['a1'], 'and no longer for the one before')
    newcomers.move(through, undefined)
    open('a2', 'a')
    t.strictSame(putOut, ['a1'])
    t.equal(newcomers.size, 3)
  })
})

t.test('A socket that was told why it can not stay', async t => {
  const given = (max: number) => {
    const clock = { nowMs: 0 }
    const destroyed: string[] = []
    const lingerer = (name: string) => ({ destroy: () => { destroyed.push(name) } })
    return { clock, destroyed, lingerer, lingerers: new Lingerers(max, () => clock.nowMs) }
  }

  t.test('has half a second to read it', async t => {
    const { clock, destroyed, lingerer, lingerers } = given(10)
    lingerers.add(lingerer('a'))
    clock.nowMs = 300
    lingerers.add(lingerer('b'))
    clock.nowMs = 499
    lingerers.sweep()
    t.strictSame(destroyed, [])
    clock.nowMs = 500
    lingerers.sweep()
    t.strictSame(destroyed, ['a'])
    t.equal(lingerers.size, 1)
  })

  t.test('goes for the next one where there are too many', async t => {
    const { destroyed, lingerer, lingerers } = given(2)
    for (const name of ['a', 'b', 'c']) lingerers.add(lingerer(name))
    t.strictSame(destroyed, ['a'])
    t.equal(lingerers.size, 2)
  })

  t.test('is left alone once it has closed', async t => {
    const { clock, destroyed, lingerer, lingerers } = given(2)
    const closed = lingerer('a')
    lingerers.add(closed)
    lingerers.delete(closed)
    clock.nowMs = 1_000
    lingerers.sweep()
    t.strictSame(destroyed, [])
  })
})
