import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { analyticsPythonMissing, findAnalyticsPython } from '../cluster/python.js'
import { follow, isAsShown } from './page.js'

const folder = fileURLToPath(new URL('../../../docs/integrations/', import.meta.url))
const pages = readdirSync(folder).filter(name => name !== 'README.md').sort()
/** What the commands of a page want to be there. */
const wanted: Record<string, { missing: string | undefined, env: () => Record<string, string> }> = {
  'analytics.md': { missing: analyticsPythonMissing(), env: () => ({ PYTHON: findAnalyticsPython()! }) },
}

for (const page of pages) {
  const { missing, env } = wanted[page] ?? {}
  const options = { timeout: 150_000, skip: missing ?? false }
  t.test(`What docs/integrations/${page} tells to do gives what it shows`, options, async t => {
    const shown = await follow(t, readFileSync(`${folder}${page}`, 'utf8'), env?.())
    t.ok(shown.length > 0, 'it shows something')
    for (const step of shown) {
      t.ok(isAsShown(step), step.command.trim(), { printed: step.printed, wanted: step.wanted })
    }
  })
}

t.test('The index names every page', async t => {
  const index = readFileSync(`${folder}README.md`, 'utf8')
  for (const page of pages) t.ok(index.includes(`](${page})`), page)
})
