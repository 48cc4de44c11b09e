import { readFileSync } from 'node:fs'
import t from 'tap'
import { mutations } from '../../simulation/sabotage/mutations.js'

t.test('The defects of the sabotage', async t => {
  const names = mutations.map(({ name }) => name)
  t.equal(new Set(names).size, names.length, 'have names of their own')
  for (const { name, file, also, ...change } of mutations) {
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
    for (const { from, to } of [change, ...also ? [also] : []]) {
      t.equal(text.split(from).length - 1, 1, `${name}: what it changes stands once in ${file}`)
      t.not(from, to)
    }
  }
})
