import { readFileSync } from 'node:fs'
import t from 'tap'
import { failures } from '../../simulation/sabotage/failures.js'
import { mutations } from '../../simulation/sabotage/mutations.js'

t.test('The defects of the sabotage', async t => {
  const all = [...mutations, ...failures]
  const names = all.map(({ name }) => name)
  t.equal(new Set(names).size, names.length, 'have names of their own')
  for (const { name, file, also, ...change } of all) {
    for (const { file: of, from, to } of [{ file, ...change }, ...also ? [{ file, ...also }] : []]) {
      const text = readFileSync(new URL(`../../${of}`, import.meta.url), 'utf8')
      t.equal(text.split(from).length - 1, 1, `${name}: what it changes stands once in ${of}`)
      t.not(from, to)
    }
  }
})
