import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { buildProgram } from '../../cli/commands.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const pages = ['README.md', ...readdirSync(`${root}docs`, { recursive: true, encoding: 'utf8' }).map(name => `docs/${name}`)]
  .filter(name => name.endsWith('.md') && !name.startsWith('docs/decisions/'))

/** `ledgerline NAME ...` and `node . NAME ...`, to the end of the line or of the code. */
const commands = /(?:\bledgerline|\bnode \.) ([a-z-]+)([^`\n|#>;&]*)/g

t.test('Commands about API keys are shown with the file that they want', async t => {
  for (const page of pages.filter(page => page !== 'README.md')) {
    const text = readFileSync(`${root}${page}`, 'utf8')
    for (const { index, 0: line } of text.matchAll(/^ +\$ ledgerline keys .*/gm)) {
      const isNamed = /--(file|app) /.test(line) || text.slice(0, index).includes('$ export LEDGERLINE_API_KEYS_FILE=')
      t.ok(isNamed, `${page}: ${line.trim()}`)
    }
  }
})

t.test('Each command that the docs show exists, with the options that they show', async t => {
  const known = new Map(buildProgram().commands.map(command => [command.name(), command]))
  let checked = 0
  for (const page of pages) {
    for (const [text, name, rest] of readFileSync(`${root}${page}`, 'utf8').matchAll(commands)) {
      const command = known.get(name!)
      if (command === undefined) {
        t.notOk(text.startsWith('node .'), `${page}: ${text}`)
        continue
      }
      // `keys create` and the like are commands within one.
      const inner = command.commands.find(inner => rest!.trim().startsWith(inner.name())) ?? command
      for (const [option] of rest!.matchAll(/(?<=\s)--[a-z-]+/g)) {
        const isThere = option === '--help' || inner.options.some(({ long }) => long === option)
        t.ok(isThere, `${page}: ${text.trim()}: ${option}`)
        checked++
      }
    }
  }
  t.ok(checked > 60, `${checked} options`)
})
