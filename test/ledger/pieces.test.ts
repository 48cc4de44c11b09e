import t from 'tap'
import { piecesOf } from '../../ledger/pieces.js'
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
