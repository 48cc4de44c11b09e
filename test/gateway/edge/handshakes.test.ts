import t from 'tap'
import { Handshakes } from '../../../gateway/edge/handshakes.js'
import { Lingerers } from '../../../gateway/edge/lingerers.js'

interface Socket { readonly name: string, readonly acceptedAt: number }

function given ({ max = 100, networkMax = 100 } = {}) {
  const clock = { ticks: 1_000 }
  const putOut: string[] = []
  const handshakes = new Handshakes<Socket>({
    max, networkMax, tickMs: 100, ticks: () => clock.ticks, putOut: ({ name }) => { putOut.push(name) },
  })
  const open = (name: string, network: string) => {
    const socket = { name, acceptedAt: clock.ticks }
    handshakes.add(socket, network)
    return socket
  }
  return { clock, putOut, handshakes, open }
}

t.test('A socket in its handshake', async t => {
  t.test('is put out for another one of its address when that has too many', async t => {
    const { clock, putOut, handshakes, open } = given({ networkMax: 3 })
    open('other', 'b')
    for (const name of ['a1', 'a2', 'a3']) open(name, 'a')
    clock.ticks += 11
    t.ok(handshakes.hasRoom('a'))
    open('a4', 'a')
    open('a5', 'a')
    t.strictSame(putOut, ['a1', 'a2'], 'those that have been silent for longest')
    t.equal(handshakes.size, 4)
  })

  t.test('is put out for one of another address when there are too many of all', async t => {
    const { clock, putOut, handshakes, open } = given({ max: 3 })
    for (const name of ['a1', 'a2', 'a3']) open(name, 'a')
    clock.ticks += 11
    t.ok(handshakes.hasRoom('b'))
    open('b1', 'b')
    t.strictSame(putOut, ['a1'])
  })

  t.test('has a second to say who it is before it is put out', async t => {
    const { clock, handshakes, open } = given({ max: 3, networkMax: 2 })
    open('a1', 'a')
    open('a2', 'a')
    clock.ticks += 10
    t.notOk(handshakes.hasRoom('a'))
    t.ok(handshakes.hasRoom('b'))
    open('b1', 'b')
    t.notOk(handshakes.hasRoom('c'), 'whoever comes then has to wait')
    clock.ticks += 1
    t.ok(handshakes.hasRoom('a'))
    t.ok(handshakes.hasRoom('c'))
  })

  t.test('is not counted any more once it has said so, or is gone', async t => {
    const { handshakes, open } = given({ networkMax: 1 })
    const first = open('a1', 'a')
    t.equal(handshakes.delete(first), true)
    t.equal(handshakes.delete(first), false)
    t.ok(handshakes.hasRoom('a'))
    t.equal(handshakes.size, 0)
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
