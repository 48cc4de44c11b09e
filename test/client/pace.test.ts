import t from 'tap'
import { Pace } from '../../client/pace.js'

t.test('Pace', async t => {
  t.test('leaves the window as it is until something is refused', async t => {
    const pace = new Pace()
    pace.acked(5)
    t.equal(pace.window(16), 16)
  })

  t.test('halves the window with each refusal, down to one', async t => {
    const pace = new Pace()
    const windows = Array.from({ length: 9 }, () => {
      pace.refused(10)
      return pace.window(256)
    })
    t.strictSame(windows, [128, 64, 32, 16, 8, 4, 2, 1, 1])
  })

  t.test('widens the window by about one with each window acked', async t => {
    const pace = new Pace()
    for (let i = 0; i < 6; i++) pace.refused(10) // to 4
    for (let i = 0; i < 5; i++) pace.acked(1)
    t.equal(pace.window(256), 5)
    for (let i = 0; i < 10_000; i++) pace.acked(100)
    t.equal(pace.window(256), 256)
  })

  t.test('waits as told, and longer each time that led nowhere', async t => {
    const pace = new Pace()
    t.strictSame([pace.refused(150), pace.refused(150), pace.refused(150)], [150, 300, 600])
    pace.acked(0)
    t.equal(pace.refused(150), 1200, 'a repeated ack is no progress')
    pace.acked(1)
    t.equal(pace.refused(150), 150)
  })

  t.test('waits for a tenth of a second at least', async t => {
    t.equal(new Pace().refused(0), 100)
  })

  t.test('waits for a minute at most, unless it is told more', async t => {
    const pace = new Pace()
    for (let i = 0; i < 100; i++) pace.refused(1000)
    t.equal(pace.refused(1000), 60_000)
    t.equal(pace.refused(90_000), 90_000)
  })
})
