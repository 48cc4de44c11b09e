import t from 'tap'
import { CircuitBreaker, type CircuitOptions } from '../../ledger/circuit.js'

class TestClock {
  #nowMs = 0
  readonly #tasks = new Set<{ readonly atMs: number, run (): void }>()

  nowMs (): number { return this.#nowMs }

  after (ms: number, run: () => void): () => void {
    const task = { atMs: this.#nowMs + ms, run }
    this.#tasks.add(task)
    return () => { this.#tasks.delete(task) }
  }

  pass (ms: number): void {
    this.#nowMs += ms
    for (const task of [...this.#tasks]) {
      if (task.atMs > this.#nowMs) continue
      this.#tasks.delete(task)
      task.run()
    }
  }
}

t.test('A circuit', async t => {
  t.test('opens after so many calls in a row without an answer, and refuses the next ones at once', async t => {
    const { circuit, told } = given({ failuresMax: 3 })
    await t.rejects(circuit.call(fails), { message: 'no answer' })
    await t.rejects(circuit.call(fails))
    t.equal(await circuit.call(async () => 'answer'), 'answer')
    await t.rejects(circuit.call(fails))
    await t.rejects(circuit.call(fails))
    t.equal(circuit.state, 'closed', 'an answer between them counts')
    await t.rejects(circuit.call(fails))
    t.match(circuit, { state: 'open', opened: 1, refused: 0 })

    let asked = false
    const call = circuit.call(async () => { asked = true })
    await t.rejects(call, { name: 'CircuitOpen', message: 'store does not answer: no answer', retryAfterMs: 100 })
    t.notOk(asked)
    t.equal(circuit.refused, 1)
    t.strictSame(told, ['away: no answer'])
  })

  t.test('takes an error that is an answer for one', async t => {
    const { circuit } = given()
    await t.rejects(circuit.call(fails, () => true))
    t.equal(circuit.state, 'closed')
  })

  t.test('sends one probe after a wait that doubles up to its bound, whether anybody calls or not', async t => {
    const { circuit, clock, probes, told } = given({ waitMs: 100, waitMsMax: 350 })
    await t.rejects(circuit.call(fails))
    for (const waitMs of [100, 200, 350, 350]) {
      const before = probes.length
      clock.pass(waitMs - 1)
      t.equal(probes.length, before, `not before ${waitMs} ms`)
      t.equal(circuit.retryAfterMs, 1)
      clock.pass(1)
      t.equal(probes.length, before + 1)
      t.equal(circuit.state, 'half-open')
      await t.rejects(circuit.call(fails), { name: 'CircuitOpen' }, 'nobody else goes with it')
      clock.pass(10_000)
      t.equal(probes.length, before + 1, 'nor does another probe')
      await settle(() => { probes.at(-1)!.reject(new Error('still none')) })
      t.equal(circuit.state, 'open')
    }
    t.strictSame(told, ['away: no answer', ...Array.from({ length: 4 }, () => 'away: still none')])
    t.equal(circuit.opened, 1)
  })

  t.test('draws up to half of each wait, so that many do not ask together', async t => {
    const { circuit, clock, probes } = given({ waitMs: 100, random: () => 1 })
    await t.rejects(circuit.call(fails))
    clock.pass(50)
    t.equal(probes.length, 1)
  })

  t.test('closes with the answer to its probe, and begins with the first wait when it opens again', async t => {
    const { circuit, clock, probes, told } = given({ waitMs: 100 })
    await t.rejects(circuit.call(fails))
    clock.pass(100)
    await settle(() => { probes.at(-1)!.reject(new Error('still none')) })
    t.equal(circuit.retryAfterMs, 200)
    clock.pass(200)
    await settle(() => { probes.at(-1)!.resolve() })
    t.match(circuit, { state: 'closed', retryAfterMs: 0, openMs: 0 })
    t.equal(told.at(-1), 'back')
    t.equal(await circuit.call(async () => 1), 1)
    await t.rejects(circuit.call(fails))
    t.match(circuit, { state: 'open', opened: 2, retryAfterMs: 100 })
    clock.pass(30)
    t.equal(circuit.openMs, 30)
  })

  t.test('closes with an answer to a call from before, and forgets the probe that is under way', async t => {
    const { circuit, clock, probes } = given({ waitMs: 100 })
    let answer = () => {}
    const before = circuit.call(() => new Promise<void>(resolve => { answer = resolve }))
    await t.rejects(circuit.call(fails))
    clock.pass(100)
    answer()
    await before
    t.equal(circuit.state, 'closed')
    await t.rejects(circuit.call(fails))
    await settle(() => { probes[0]!.reject(new Error('late')) })
    t.match(circuit, { state: 'open', retryAfterMs: 100 }, 'its outcome is none of the next one')
    clock.pass(100)
    t.equal(probes.length, 2)
  })

  t.test('is opened by whoever knows better, once', async t => {
    const { circuit, told } = given({ failuresMax: 3 })
    circuit.open('the connection is gone')
    circuit.open('the connection is gone')
    circuit.unanswered(new Error('of a call from before'))
    t.match(circuit, { state: 'open', opened: 1 })
    t.strictSame(told, ['away: the connection is gone'])
    circuit.answered()
    t.strictSame(told.slice(1), ['back'])
  })

  t.test('tells who waits for it that it has closed, or lets them go', async t => {
    const { circuit } = given()
    const leaving = new AbortController()
    const staying = new AbortController()
    await circuit.whenClosed(staying.signal)
    circuit.open('away')
    let gone = 0
    const left = circuit.whenClosed(leaving.signal).then(() => { gone++ })
    const stayed = circuit.whenClosed(staying.signal).then(() => { gone++ })
    leaving.abort()
    await left
    t.equal(gone, 1)
    await circuit.whenClosed(leaving.signal)
    circuit.answered()
    await stayed
    t.equal(gone, 2)
  })

  t.test('asks and tells nothing once it is stopped', async t => {
    const { circuit, clock, probes, told } = given()
    await t.rejects(circuit.call(fails))
    circuit.stop()
    clock.pass(60_000)
    circuit.answered()
    circuit.open('again')
    t.equal(probes.length, 0)
    t.strictSame(told, ['away: no answer'])
  })
})

interface Probe { resolve (): void, reject (err: Error): void }

/** With a clock that passes as the test says, waits that are not drawn, and probes that the test answers. */
function given (more: Partial<CircuitOptions> = {}) {
  const clock = new TestClock()
  const probes: Probe[] = []
  const told: string[] = []
  const circuit = new CircuitBreaker({
    dependency: 'store',
    failuresMax: 1,
    waitMs: 100,
    waitMsMax: 10_000,
    probe: () => new Promise<void>((resolve, reject) => { probes.push({ resolve, reject }) }),
    away: reason => { told.push(`away: ${reason}`) },
    back: () => { told.push('back') },
    clock,
    random: () => 0,
    ...more,
  })
  t.teardown(() => { circuit.stop() })
  return { circuit, clock, probes, told }
}

async function fails (): Promise<void> { throw new Error('no answer') }

/** Does it, and what follows from it. */
async function settle (work: () => void): Promise<void> {
  work()
  await new Promise(resolve => setImmediate(resolve))
}
