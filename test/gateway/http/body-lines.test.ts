import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { BodyLines } from '../../../gateway/http/body-lines.js'

const never = new AbortController().signal

function given ({ lineMs = 60_000, signal = never } = {}) {
  const body = new PassThrough()
  return { body, lines: new BodyLines(body, { lineMs, signal }) }
}

async function allOf (lines: BodyLines, linesMax: number, bytesMax: number) {
  const all = []
  for (;;) {
    const some = await lines.next(linesMax, bytesMax)
    if (some.length === 0) return all
    if (some.length > linesMax) throw new Error(`got ${some.length} lines`)
    all.push(...some)
  }
}

t.test('The lines of a body', async t => {
  t.test('are the same however it comes', async t => {
    await fc.assert(fc.asyncProperty(
      fc.array(fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.constant('x'.repeat(40)))),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), fc.integer({ min: 1, max: 4 }), fc.boolean(),
      async (texts, sizes, linesMax, endsWithLineEnd) => {
        const written = texts.map(text => text.replaceAll(/[\n\ufeff]/g, ''))
        const bytes = Buffer.from(written.join('\n') + (endsWithLineEnd ? '\n' : ''))
        const { body, lines } = given()
        for (let start = 0, i = 0; start < bytes.length; i++) {
          const end = start + sizes[i % sizes.length]!
          body.write(bytes.subarray(start, end))
          start = end
        }
        body.end()
        const got = await allOf(lines, linesMax, 36)
        const wanted = written.flatMap((text, i) => {
          if (Buffer.byteLength(text) > 36) return [{ number: i + 1, text: '', wrong: 'want at most 36 bytes' }]
          return text.trim() === '' ? [] : [{ number: i + 1, text, wrong: '' }]
        })
        t.strictSame(got, wanted)
      }
    ), { numRuns: 200 })
  })

  t.test('are told where one is no UTF-8, and those behind it are as they are', async t => {
    const { body, lines } = given()
    body.end(Buffer.concat([Buffer.from('one\n'), Buffer.of(0xff, 0x0a), Buffer.from('three')]))
    t.strictSame((await allOf(lines, 10, 100)).map(({ text, wrong }) => text || wrong), ['one', 'want JSON in UTF-8', 'three'])
  })

  t.test('hold no more than one that is too long is bounded by', async t => {
    const { body, lines } = given()
    const reading = lines.next(10, 100)
    for (let i = 0; i < 1_000; i++) if (!body.write(Buffer.alloc(16_384, 'a'))) await new Promise(resolve => body.once('drain', resolve))
    body.end('\nlast')
    t.match(await reading, [{ number: 1, wrong: 'want at most 100 bytes' }, { number: 2, text: 'last' }].slice(0, 1))
  })

  t.test('are not read further than they are asked for', async t => {
    const { body, lines } = given()
    body.write('one\ntwo\n')
    t.match(await lines.next(1, 100), [{ number: 1, text: 'one' }])
    let drained = false
    while (body.write(Buffer.alloc(16_384, 'a'))) { /* until it is full */ }
    body.once('drain', () => { drained = true })
    t.match(await lines.next(1, 100), [{ number: 2, text: 'two' }])
    await new Promise(resolve => setTimeout(resolve, 50))
    t.notOk(drained)
  })

  t.test('end with bad-request where the body breaks off, and where none comes in time', async t => {
    const broken = given()
    broken.body.write('one\ntw')
    t.match(await broken.lines.next(10, 100), [{ text: 'one' }])
    setImmediate(() => { broken.body.destroy() })
    await t.rejects(broken.lines.next(10, 100), { code: 'bad-request', message: 'the body did not come to its end' })
    const silent = given({ lineMs: 100 })
    const dripping = setInterval(() => { silent.body.write('a') }, 20)
    t.teardown(() => { clearInterval(dripping) })
    await t.rejects(silent.lines.next(10, 1e6), { code: 'bad-request', message: 'body: no line came for 100 ms' }, 'whatever drips')
  })

  t.test('end with not-ready where nobody may wait any longer', async t => {
    const stop = new AbortController()
    const { lines } = given({ signal: stop.signal })
    const reading = lines.next(10, 100)
    stop.abort()
    await t.rejects(reading, { code: 'not-ready' })
    await t.rejects(lines.next(10, 100), { code: 'not-ready' })
  })
})
