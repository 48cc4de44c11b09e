import { readFileSync } from 'node:fs'
import t from 'tap'
import { publicStreams } from '../../gateway/streams/public.js'
import { asyncApi, businessStreams } from '../../schemas/asyncapi.js'

const root = new URL('../../../', import.meta.url)
const read = (name: string) => JSON.parse(readFileSync(new URL(name, root), 'utf8'))

t.test('docs/asyncapi.json', async t => {
  const page = read('docs/asyncapi.json')
  t.test('is what the schemas make of it', async t => {
    t.strictSame(page, asyncApi(read('package.json').version), 'write it anew with npm run asyncapi')
  })
  t.test('has every stream that business services read, each by the file that is its schema', async t => {
    const names = businessStreams.map(({ stream }) => stream.name)
    for (const { stream } of publicStreams) t.ok(names.includes(stream.name), stream.name)
    for (const name of names) {
      const id = name.replace('.', '-')
      t.equal(page.channels[id].address, `ledgerline.${name}`)
      t.strictSame(page.components.messages[id].payload.schema, read(`schemas/streams/${id}.avsc`))
    }
  })
  t.test('refers to nothing that is not there', async t => {
    for (const [, path] of JSON.stringify(page).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      t.ok(path!.split('/').reduce((at, part) => at?.[part], page), path!)
    }
  })
})
