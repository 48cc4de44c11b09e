import { readFileSync } from 'node:fs'
import t from 'tap'
import { adviceFor, adviceForPost } from '../../console/advice.js'

/** The codes that the table of docs/debugging.md has of verdicts on one kind of thing. */
function codesOf (kind: string): string[] {
  const text = readFileSync('docs/debugging.md', 'utf8')
  const from = text.indexOf(`| Code of ${kind} |`)
  const table = text.slice(from, text.indexOf('\n\n', from)).split('\n').slice(2)
  return table.flatMap(row => Array.from(row.split('|')[1]!.matchAll(/`([a-z-]+)`/g), ([, code]) => code!))
}

/** The codes that the verdicts on one kind of thing name themselves. */
function codesIn (file: string): string[] {
  const verdict = /return \{\s*code: '([a-z-]+)'/g
  return Array.from(readFileSync(`evidence/${file}.ts`, 'utf8').matchAll(verdict), ([, code]) => code!)
}

t.test('Each verdict has an advice', async t => {
  const documented = ['a downlink', 'an uplink', 'a connection'].flatMap(codesOf)
  const named = ['downlink', 'delivery', 'uplink', 'connection'].flatMap(codesIn)
  t.ok(documented.length > 25 && named.length > 10, `${documented.length} and ${named.length}`)
  const unknown = adviceFor({ code: 'of-nobody', cause: '', text: '' })
  for (const code of new Set([...documented, ...named, 'not-kept'])) {
    t.not(adviceFor({ code, cause: '', text: '' }), unknown)
    t.not(adviceFor({ code, cause: '', text: '' }).text, unknown.text, code)
  }
})

t.test('Each verdict on a post has one', async t => {
  const unknown = adviceForPost({ code: 'of-nobody', cause: '', text: '' })
  const codes = codesOf('a post')
  t.ok(codes.length > 8)
  for (const code of codes) t.not(adviceForPost({ code, cause: '', text: '' }).text, unknown.text, code)
})
