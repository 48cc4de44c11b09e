import t from 'tap'
import { Descriptors } from '../../../gateway/edge/descriptors.js'

function given (max: number) {
  const clock = { nowMs: 1_000 }
  const told: string[] = []
  const health = {
    begin (name: string) { if (told.at(-1) !== `${name} begins`) told.push(`${name} begins`) },
    end (name: string) { told.push(`${name} ends`) },
  }
  return { clock, told, descriptors: new Descriptors(health, { max, nowMs: () => clock.nowMs }) }
}

t.test('Descriptors', async t => {
  t.test('are short for a client whose socket would take from the reserve', async t => {
    const { told, descriptors } = given(256)
    t.equal(descriptors.reserve, 64)
    t.equal(descriptors.areShort(191), false)
    t.strictSame(told, [])
    t.equal(descriptors.areShort(192), true)
    t.strictSame(told, ['descriptors begins'])
  })

  t.test('are enough again once nobody was sent away for 5 s', async t => {
    const { clock, told, descriptors } = given(20_000)
    descriptors.areShort(19_900)
    clock.nowMs += 4_999
    descriptors.sweep()
    t.strictSame(told, ['descriptors begins'], 'a place that comes and goes is no end')
    clock.nowMs += 1
    descriptors.sweep()
    descriptors.sweep()
    t.strictSame(told, ['descriptors begins', 'descriptors ends'])
  })

  t.test('are seen to be short where no client comes to find out', async t => {
    const { told, descriptors } = given(4) // this process has more open
    descriptors.sweep()
    t.strictSame(told, ['descriptors begins'])
  })

  t.test('are never short where nobody says how many there are', async t => {
    const { told, descriptors } = given(Infinity)
    descriptors.sweep()
    t.equal(descriptors.areShort(1_000_000), false)
    t.strictSame(told, [])
  })

  t.test('have the bound that the kernel has for this process', async t => {
    const { max } = new Descriptors({ begin () {}, end () {} })
    t.ok(max > 0)
  })
})
