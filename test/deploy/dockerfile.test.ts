import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { instructionsOf } from './dockerfile.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const stages = instructionsOf(readFileSync(join(root, 'Dockerfile'), 'utf8'))

t.test('Dockerfile', async t => {
  t.test('copies what is there', async t => {
    const copies = stages.flatMap(({ copies }) => copies).filter(({ stage }) => stage === undefined)
    const copied = copies.flatMap(({ from }) => from)
    t.strictSame(copied.filter(path => !existsSync(join(root, path))), [])
  })

  t.test('has one Node.js in both stages, which the program takes and which has years to go', async t => {
    const versions = stages.map(({ image }) => Number(/^node:(\d+)-/.exec(image)?.[1]))
    t.equal(new Set(versions).size, 1)
    t.ok(versions[0]! >= 24 && versions[0]! % 2 === 0, 'a release with long-term support')
  })

  t.test('passes hadolint', async t => {
    const python = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'ledgerline-test/python/bin')
    const env = { ...process.env, PATH: `${process.env['PATH']}${delimiter}${python}` }
    const { error, status, stdout } = spawnSync('hadolint', [join(root, 'Dockerfile')], { env, encoding: 'utf8' })
    if (error !== undefined) {
      t.pass('hadolint is not here', { skip: true })
      return
    }
    t.equal(stdout, '')
    t.equal(status, 0)
  })
})
