import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { install, packAll } from './packed.js'
import { problemsOf, resolutions } from './types.js'

const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url))

const source = `
import { createService, ServiceError, type Pushed, type ServiceOptions } from '@ledgerline/service'
import { verify, type WebhookEvent } from '@ledgerline/service/webhooks'
const options: ServiceOptions = { url: 'http://a', apiKey: 'k' }
const service = createService(options)
export const pushed: Promise<readonly Pushed[]> = service.push(['ann'], { payload: 'x' })
export async function read (): Promise<string | undefined> {
  for await (const uplink of service.group('orders').read('uplinks')) return uplink.userId
}
export const check: (...args: Parameters<typeof verify>) => readonly WebhookEvent[] = verify
export const failed = new ServiceError('not-ready', 'x', 503, 0)
// @ts-expect-error so types are found, and are not any
export const wrong: number = service
`

t.test('@ledgerline/service', { timeout: 230_000 }, async t => {
  const folder = t.testdir({ node_modules: { '@types': {} } })
  install(packAll(folder)['@ledgerline/service'], '@ledgerline/service', folder)
  // Its streams are Node's. It needs nothing at run time.
  symlinkSync(join(modules, '@types/node'), join(folder, 'node_modules/@types/node'))
  for (const type of ['module', 'commonjs']) {
    mkdirSync(join(folder, type))
    writeFileSync(join(folder, type, 'package.json'), JSON.stringify({ type }))
    writeFileSync(join(folder, type, 'app.ts'), source)
  }

  const use = `
    const service = createService({ url: 'http://127.0.0.1:1', apiKey: 'k', retryForMs: 0 })
    await service.presence(['ann']).catch(({ name, code }) => console.log(name, code))
    try { verify({}, '{}', 'whsec_c2VjcmV0LW9mLWF0LWxlYXN0LTI0LWJ5dGVz') } catch ({ name }) { console.log(name) }`
  for (const [kind, file, text] of [
    ['ES modules', 'module/use.mjs', `
      import { createService } from '@ledgerline/service'
      import { verify } from '@ledgerline/service/webhooks'
      ${use}`],
    ['CommonJS', 'commonjs/use.cjs', `
      const { createService } = require('@ledgerline/service')
      const { verify } = require('@ledgerline/service/webhooks')
      void (async () => {${use}})()`],
  ] as const) {
    t.test(`works from ${kind}`, async t => {
      writeFileSync(join(folder, file), text)
      const said = execFileSync(process.execPath, [join(folder, file)], { encoding: 'utf8' })
      t.equal(said, 'ServiceError unreachable\nWebhookVerificationError\n')
    })
  }

  for (const resolution of resolutions) {
    t.test(`has its types where moduleResolution is ${resolution.name}`, async t => {
      t.equal(problemsOf(join(folder, resolution.type, 'app.ts'), resolution, { types: ['node'] }), '')
    })
  }
})
