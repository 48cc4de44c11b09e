import fc from 'fast-check'
import t from 'tap'
import { ChosenMessages } from '../../gateway/tracing/chosen.js'
import { SpanLosses } from '../../gateway/tracing/span-losses.js'
import { contextOfMessage, formatTraceparent, parseTraceparent, shareOf, within } from '../../gateway/tracing/context.js'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const span = '00f067aa0ba902b7'

t.test('traceparent', async t => {
  t.test('is read as the W3C has it', async t => {
    const context = { traceId: trace, spanId: span }
    t.strictSame(parseTraceparent(`00-${trace}-${span}-01`), { ...context, isSampled: true })
    t.strictSame(parseTraceparent(`00-${trace}-${span}-02`), { ...context, isSampled: false })
    t.strictSame(parseTraceparent(`cc-${trace}-${span}-03-what-comes-later`), { ...context, isSampled: true })
  })

  t.test('is nothing where it is not', async t => {
    for (const text of [
      undefined, ['a', 'b'], '', 'x', `ff-${trace}-${span}-01`, `00-${'0'.repeat(32)}-${span}-01`,
      `00-${trace}-${'0'.repeat(16)}-01`, `00-${trace.toUpperCase()}-${span}-01`, `00-${trace}-${span}-1`,
      `00-${trace}-${span}-01x`, ` 00-${trace}-${span}-01`,
    ]) t.equal(parseTraceparent(text), undefined, String(text))
    fc.assert(fc.property(fc.string({ maxLength: 80 }), text => parseTraceparent(text) === undefined))
  })

  t.test('is written as it was read', async t => {
    fc.assert(fc.property(fc.string({ minLength: 1 }), id => {
      const context = contextOfMessage(id)
      const again = parseTraceparent(formatTraceparent(context))!
      return JSON.stringify(again) === JSON.stringify(context) && shareOf(id) >= 0 && shareOf(id) < 1 &&
        within(context).traceId === context.traceId && within(context).spanId !== context.spanId
    }))
  })
})

t.test('Spans that are lost are told of once a minute, with all that were', async t => {
  let nowMs = 5
  const told: Array<[string, number]> = []
  const losses = new SpanLosses((reason, lost) => { told.push([reason, lost]) }, () => nowMs)
  losses.add(3, 'away')
  nowMs += 59_999
  losses.add(4, 'away')
  nowMs++
  losses.add(5, 'full')
  t.strictSame([losses.lost, told], [12, [['away', 3], ['full', 12]]])
})

t.test('Messages that a trace has led to', async t => {
  let nowMs = 1_000
  const chosen = new ChosenMessages(() => nowMs)
  const context = contextOfMessage('m')

  t.test('are known for ten minutes', async t => {
    chosen.add(['ann'], 'm1', context)
    nowMs += 599_999
    t.strictSame(chosen.get('ann', 'm1'), context)
    nowMs++
    t.equal(chosen.get('ann', 'm1'), undefined)
    chosen.add(['ann'], 'm2', context)
    t.equal(chosen.size, 1, 'and take no memory after that')
  })

  t.test('are those of their users: the id of a message says nothing to others', async t => {
    chosen.add(['ann', 'shop\u001fann'], 'm3', context)
    t.strictSame(['ann', 'shop\u001fann'].map(userKey => chosen.get(userKey, 'm3')), [context, context])
    t.strictSame(['bob', 'bank\u001fann', ''].map(userKey => chosen.get(userKey, 'm3')), [undefined, undefined, undefined])
  })

  t.test('are twenty thousand at most, the youngest ones', async t => {
    for (let i = 0; i < 20_005; i++) chosen.add(['ann'], `n${i}`, context)
    t.equal(chosen.size, 20_000)
    t.strictSame([chosen.get('ann', 'n4'), chosen.get('ann', 'n5')], [undefined, context])
  })
})
