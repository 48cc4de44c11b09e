import t from 'tap'
import { printable } from '../../schemas/printable.js'

t.test('printable', async t => {
  const cases: Array<[string, string]> = [
    ['héllo 😀 日本', 'héllo 😀 日本'],
    ['a\nb\r\t', 'a\\nb\\r\\t'],
    ['\x1b[2J\x07', '\\u001b[2J\\u0007'],
    ['\x7f\x9b31m\u0085', '\\u007f\\u009b31m\\u0085'],
    ['\u2028\u2029', '\\u2028\\u2029'],
    ['user\u202egnp.exe\u2066\u061c', 'user\\u202egnp.exe\\u2066\\u061c'],
    ['\ud83d!', '\\ud83d!'],
  ]
  for (const [text, wanted] of cases) t.equal(printable(text), wanted)
  t.test('leaves JSON the same JSON', async t => {
    const value = cases.map(([text]) => text)
    t.strictSame(JSON.parse(printable(JSON.stringify(value))), value)
    t.equal(printable(printable(JSON.stringify(value))), printable(JSON.stringify(value)))
  })
})
