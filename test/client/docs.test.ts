import { readFileSync } from 'node:fs'
import t from 'tap'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** Names of the fields of an interface, as its source has them. */
function fieldsOf (path: string, name: string): string[] {
  const body = read(path).split(`export interface ${name} {`)[1]!.split('\n}')[0]!
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, field]) => field!)
}

t.test('docs/client.md', async t => {
  const page = read('docs/client.md')

  t.test('has every option but the one for tests', async t => {
    const options = fieldsOf('client/options.ts', 'ClientOptions').filter(name => name !== 'random')
    t.ok(options.length > 10)
    t.strictSame(options.filter(name => !new RegExp(`^\\| [^|]*\`${name}\``, 'm').test(page)), [])
  })

  t.test('has every event', async t => {
    const events = fieldsOf('client/events.ts', 'ClientEvents')
    t.ok(events.length > 10)
    t.strictSame(events.filter(name => !new RegExp(`^\\| [^|]*\`${name}\``, 'm').test(page)), [])
  })
})
