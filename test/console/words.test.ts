import t from 'tap'
import { bytesOf, countOf } from '../../console/words.js'

t.test('countOf takes the singular for one alone', async t => {
  t.strictSame([0, 1, 2, 12_345].map(count => countOf(count, 'node')), ['0 nodes', '1 node', '2 nodes', '12,345 nodes'])
  t.strictSame([1, 2].map(count => countOf(count, 'entry', 'entries')), ['1 entry', '2 entries'])
  t.strictSame([1, 2].map(bytesOf), ['1 byte', '2 bytes'])
})
