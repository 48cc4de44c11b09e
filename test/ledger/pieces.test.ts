import t from 'tap'
import { EncodeError } from '../../ledger/encode-error.js'
import type { AppendOptions } from '../../ledger/log.js'
import { appendAcceptable, appendInOrder, piecesOf } from '../../ledger/pieces.js'
import { GatewayError } from '../../schemas/errors.js'
import { bytesOfValue } from '../../schemas/sizes.js'
import { note, noteStream } from './log-contract.js'

t.test('piecesOf', async t => {
  const stream = noteStream()
  const of = (...lengths: number[]) => lengths.map(length => note('x'.repeat(length)))
  const lengths = (pieces: ReturnType<typeof of>[]) => pieces.map(piece => piece.map(({ text }) => text.length))
  const own = bytesOfValue(note(''))

  t.strictSame(piecesOf(stream, [], 100), [], 'gives nothing of nothing')
  t.strictSame(lengths(piecesOf(stream, of(10, 20, 30), 3 * own + 60)), [[10, 20, 30]], 'keeps together what fits')
  t.strictSame(lengths(piecesOf(stream, of(10, 20, 30), 2 * own + 50)), [[10, 20], [30]], 'in order')
  t.strictSame(lengths(piecesOf(stream, of(10, 999, 30), 2 * own + 60)), [[10], [999], [30]],
    'and an item that is larger on its own')
})

/** Takes no append that has an item of more than three characters, nor one of `odd`; fails at `!` and `?`. */
function choosyLog () {
  const stored: string[] = []
  const options: AppendOptions[] = []
  return {
    stored,
    options,
    async append (_stream: unknown, partition: number, items: readonly unknown[], given: AppendOptions = {}) {
      const some = (items as Array<{ text: string }>).map(({ text }) => text)
      if (some.some(text => text.length > 3)) throw new GatewayError('payload-too-large')
      if (some.includes('odd')) throw new EncodeError(new RangeError('odd'))
      if (some.includes('!')) throw new GatewayError('ledger-unavailable')
      if (some.includes('?')) throw new TypeError('a defect')
      stored.push(...some)
      options.push(given)
      return { partition, offset: 0n, index: 0 }
    },
  }
}

t.test('appendInOrder', async t => {
  const stream = noteStream()
  async function appended (...texts: string[]) {
    const log = choosyLog()
    const outcome = await appendInOrder(log, stream, 0, texts.map(text => note(text)))
      .catch((err: Error) => err instanceof GatewayError ? err.code : err.message)
    return [outcome, log.stored.join(' ')]
  }

  t.strictSame(await appended('a', 'b', 'c'), [3, 'a b c'])
  for (let at = 1; at < 6; at++) {
    const texts = ['a', 'b', 'c', 'd', 'e']
    texts.splice(at, 0, 'large')
    t.strictSame(await appended(...texts), [at, texts.slice(0, at).join(' ')], `stores the ${at} before a large one`)
  }
  t.strictSame(await appended('large', 'a', 'b'), ['payload-too-large', ''], 'fails only where the first is the large one')
  t.strictSame(await appended('a', 'b', 'odd', 'c'), [2, 'a b'], 'stores those before one that can not be encoded')
  t.strictSame(await appended('odd', 'a'), ['it can not be encoded: odd', ''])
  t.strictSame(await appended('a', '!', 'large', 'b'), ['ledger-unavailable', ''])
  t.strictSame(await appended('a', 'b', '!', 'large'), [2, 'a b'], 'ends where it fails for another reason')
  t.strictSame(await appended('?', 'a'), ['a defect', ''])
  t.strictSame(await appended('a', 'b', '?'), ['a defect', ''], 'and does not look for the item at fault')
})

t.test('appendAcceptable', async t => {
  const stream = noteStream()
  async function appended (...texts: string[]) {
    const log = choosyLog()
    const aside: string[] = []
    const options = { derivedFrom: 7n, lazy: true, bytes: 1 }
    const outcome = await appendAcceptable(log, stream, 0, texts.map(text => note(text)), options,
      ({ text }, { message }) => { aside.push(`${text}: ${message}`) }).catch((err: Error) => err)
    return { log, aside, outcome }
  }

  const whole = await appended('a', 'b')
  t.strictSame(whole.log.stored, ['a', 'b'])
  t.strictSame(whole.log.options, [{ derivedFrom: 7n, lazy: true, bytes: 1 }], 'is one append where all are taken')

  const some = await appended('a', 'odd', 'b', 'large', 'c', 'd')
  t.strictSame(some.log.stored, ['a', 'b', 'c', 'd'], 'leaves out what is never taken')
  t.match(some.aside, [/^odd: it can not be encoded/, /^large: /])
  t.strictSame(some.log.options.filter(({ derivedFrom }) => derivedFrom !== undefined).length, 1)
  t.strictSame(some.log.options.at(-1), { derivedFrom: 7n, lazy: true }, 'and tells `derivedFrom` with the last ones')

  const passing = await appended('a', 'odd', '!')
  t.match(passing.outcome, { code: 'ledger-unavailable' })
  t.match((await appended('a', '?')).outcome, { message: 'a defect' })
  t.strictSame((await appended('odd')).log.stored, [])
})
