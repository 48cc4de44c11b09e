import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type * as browser from '../../client/browser.js'
import type * as node from '../../client/node.js'
import { install, packAll } from './packed.js'
import { problemsOf, resolutions } from './types.js'

const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url))
const names = ['Client', 'ClientError', 'GiveUp', 'TryLater', 'createClient', 'inDefault', 'inFile', 'inIndexedDb',
  'inLocalStorage', 'inMemory']

/** Fails to compile where one build exports what the other one does not, or otherwise. */
const browserHasAll: typeof browser extends typeof node ? true : false = true
const nodeHasAll: typeof node extends typeof browser ? true : false = true

const source = `
import { ${names.join(', ')} } from '@ledgerline/client'
import type { ClientOptions, ClientStorage, Ended, ReceivedDownlink } from '@ledgerline/client'
const storage: ClientStorage = inMemory()
const options: ClientOptions = { endpoints: ['ws://a'], getToken: async () => 'x', deviceId: 'd', storage }
const client: Client = createClient(options)
client.on('disconnected', ({ code }: Ended) => code.length)
client.on('downlink', ({ payload }: ReceivedDownlink) => payload.length)
const stores: Array<(name: string) => ClientStorage> = [inDefault, inFile, inIndexedDb, inLocalStorage]
export const use = [client.send('x').then(({ userSeq }) => userSeq), stores, new ClientError('a', 'b').code] as const
// @ts-expect-error so types are found, and are not any
export const wrong: number = client
`

t.test('@ledgerline/client', { timeout: 230_000 }, async t => {
  const folder = t.testdir({ node_modules: { '@types': {} } })
  const installed = install(packAll(folder)['@ledgerline/client'], '@ledgerline/client', folder)
  symlinkSync(join(modules, 'ws'), join(folder, 'node_modules/ws')) // all that it depends on
  for (const type of ['module', 'commonjs']) {
    mkdirSync(join(folder, type))
    writeFileSync(join(folder, type, 'package.json'), JSON.stringify({ type }))
    writeFileSync(join(folder, type, 'app.ts'), source)
  }
  const run = (file: string, text: string, ...args: string[]) => {
    writeFileSync(join(folder, file), text)
    return execFileSync(process.execPath, [...args, join(folder, file)], { encoding: 'utf8' })
  }

  t.test('exports the same names in every build', async t => {
    t.ok(browserHasAll && nodeHasAll)
    const esm = 'import * as all from "@ledgerline/client"; console.log(JSON.stringify(Object.keys(all).sort()))'
    const cjs = 'console.log(JSON.stringify(Object.keys(require("@ledgerline/client")).sort()))'
    for (const conditions of [[], ['--conditions=browser']]) {
      t.strictSame(JSON.parse(run('module/list.mjs', esm, ...conditions)), names, `import ${conditions}`)
      t.strictSame(JSON.parse(run('commonjs/list.cjs', cjs, ...conditions)), names, `require ${conditions}`)
    }
    const old = `console.log(JSON.stringify(Object.keys(require(${JSON.stringify(installed)})).sort()))`
    t.strictSame(JSON.parse(run('commonjs/old.cjs', old)), names, 'and for a tool that does not know `exports`')
  })

  for (const [kind, file, importing] of [
    ['ES modules', 'module/connect.mjs', 'import { createClient } from "@ledgerline/client"'],
    ['CommonJS', 'commonjs/connect.cjs', 'const { createClient } = require("@ledgerline/client")'],
  ] as const) {
    t.test(`connects from ${kind}`, async t => {
      const said = run(file, `
        ${importing}
        for (const endpoint of ['tcp://127.0.0.1:1', 'ws://127.0.0.1:1']) {
          const client = createClient({ endpoints: [endpoint], getToken: () => 't', deviceId: 'd', attemptsMax: 1 })
          client.on('disconnected', ({ code, reason }) => console.log(code, /ECONNREFUSED/.test(reason)))
          client.connect()
        }`)
      t.equal(said, 'connection-lost true\nconnection-lost true\n')
    })
  }

  for (const resolution of resolutions) {
    t.test(`has its types where moduleResolution is ${resolution.name}`, async t => {
      t.equal(problemsOf(join(folder, resolution.type, 'app.ts'), resolution, {}), '')
    })
  }
})
