import t from 'tap'
import { appendInOrder, piecesOf } from '../../ledger/pieces.js'
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

t.test('appendInOrder', async t => {
  const stream = noteStream()
  /** Takes no append that has an item of more than three characters, as Kafka does, and fails at `broken`. */
  async function appended (...texts: string[]) {
    const stored: string[] = []
    const log = {
      async append (_stream: unknown, partition: number, items: readonly unknown[]) {
        const some = (items as Array<{ text: string }>).map(({ text }) => text)
        if (some.some(text => text.length > 3)) throw new GatewayError('payload-too-large')
        if (some.includes('odd')) throw new RangeError('it can not be encoded')
        if (some.includes('!')) throw new GatewayError('ledger-unavailable')
        stored.push(...some)
        return { partition, offset: 0n, index: 0 }
      },
    }
    const outcome = await appendInOrder(log, stream, 0, texts.map(text => note(text)))
      .catch((err: Error) => err instanceof GatewayError ? err.code : err.message)
    return [outcome, stored.join(' ')]
  }

  t.strictSame(await appended('a', 'b', 'c'), [3, 'a b c'])
  for (let at = 1; at < 6; at++) {
    const texts = ['a', 'b', 'c', 'd', 'e']
    texts.splice(at, 0, 'large')
    t.strictSame(await appended(...texts), [at, texts.slice(0, at).join(' ')], `stores the ${at} before a large one`)
  }
  t.strictSame(await appended('large', 'a', 'b'), ['payload-too-large', ''], 'fails only where the first is the large one')
  t.strictSame(await appended('a', 'b', 'odd', 'c'), [2, 'a b'], 'stores those before one that can not be encoded')
  t.strictSame(await appended('odd', 'a'), ['it can not be encoded', ''])
  t.strictSame(await appended('a', '!', 'large', 'b'), ['ledger-unavailable', ''])
  t.strictSame(await appended('a', 'b', '!', 'large'), [2, 'a b'], 'ends where it fails for another reason')
})
