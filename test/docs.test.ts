import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { downlinkOutcomes } from '../actors/user/effects.js'
import { stepEvents } from '../evidence/step-events.js'
import { errors, errorsMarkdown } from '../schemas/errors.js'

const page = (name: string): string => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')

t.test('docs/errors.md', async t => {
  t.test('holds the table of schemas/errors.ts', async t => {
    t.ok(page('errors.md').endsWith(errorsMarkdown()), 'the page ends with the table')
  })
})

t.test('docs/protocol.md', async t => {
  t.test('names every close code as the table does, and no other', async t => {
    const rows = [...page('protocol.md').matchAll(/^\| (4\d{3}) \| `([a-z-]+)` \|/gm)]
    const documented = Object.fromEntries(rows.map(([, close, code]) => [code, Number(close)]))
    const closing = Object.entries(errors).filter(([, { close }]) => close !== null)
    t.strictSame(documented, Object.fromEntries(closing.map(([code, { close }]) => [code, close])))
  })
})

t.test('docs/debugging.md', async t => {
  t.test('says of each event that a step of a trace may be what happened, and of no other', async t => {
    const section = /^## What a step may be\n(.*?)^## /ms.exec(page('debugging.md'))![1]!
    const rows = section.split('\n').filter(line => line.startsWith('| `')).map(line => line.split(' | ')[0]!)
    const named = [...rows.join().matchAll(/`([a-z-]+)`/g)].map(([, event]) => event!)
    t.strictSame([...new Set([...named, 'set-aside'])].sort(), stepEvents.toSorted())
    t.match(section, /^`set-aside` is of all/m)
  })
})

t.test('docs/streams.md', async t => {
  t.test('says of each outcome that a receipt may have what it means', async t => {
    const paragraph = /^\*\*`receipts`\*\* has (.*?)\n\n/ms.exec(page('streams.md'))![1]!
    for (const outcome of downlinkOutcomes) {
      t.equal(paragraph.includes(`\`${outcome}\``), outcome !== 'duplicate', outcome)
    }
  })
})

t.test('docs/README.md', async t => {
  t.test('names every page', async t => {
    const index = page('README.md')
    const pages = readdirSync(new URL('../../docs/', import.meta.url)).filter(name => name.endsWith('.md') && name !== 'README.md')
    for (const name of pages) t.ok(index.includes(`](${name})`), name)
  })
})
