import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { follow, isAsShown } from './page.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const readme = readFileSync(`${root}README.md`, 'utf8')

/** From one heading of the second order to the next. */
function section (title: string): string {
  return readme.split(/^## /m).find(part => part.startsWith(`${title}\n`))!
}

/** What holds a terminal of its own there goes on in the background here, and is given time to print. */
function inOneShell (page: string): string {
  return page
    .replace('npm ci && npm start\n', ':\n')
    .replace(/^(node \. connect .*)$/m, '(sleep 20 | $1) > connect.txt & until grep -q downlink connect.txt; do sleep 0.1; done; cat connect.txt')
}

t.test('What README.md tells to try gives what it shows', { timeout: 120_000 }, async t => {
  const shown = await follow(t, inOneShell(section('Try it')))
  t.equal(shown.length, 3)
  for (const step of shown) t.ok(isAsShown(step), step.command.trim(), { printed: step.printed, wanted: step.wanted })
})

t.test('Every npm script that README.md names is there', async t => {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  const named = Array.from(readme.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:]+)/g), ([, name]) => name!)
  t.ok(named.length > 3)
  for (const name of named) t.ok(name in scripts, name)
})

t.test('Every file that README.md and the index of the docs link to is there', async t => {
  for (const [page, folder] of [['README.md', ''], ['docs/README.md', 'docs/']] as const) {
    const links = readFileSync(`${root}${page}`, 'utf8').matchAll(/\]\((?!https?:)([^)#]+)/g)
    for (const [, link] of links) t.ok(existsSync(`${root}${folder}${link}`), `${page}: ${link}`)
  }
})
