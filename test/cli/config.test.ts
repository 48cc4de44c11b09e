import { hostname } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { configurationPage } from '../../gateway/config-docs.js'
import { run } from './given.js'

t.test('ledgerline config', async t => {
  const cwd = t.testdir({
    '.env': 'LEDGERLINE_JWT_SECRET=a secret that is longer than 32 bytes\nLEDGERLINE_CONFIG=own.json\n',
    'own.json': '{ "LEDGERLINE_ROOMS_MAX": 7 }',
  })

  t.test('check says that nothing is wrong', async t => {
    t.match(await run(['config', 'check'], { cwd }), { code: 0, stdout: 'nothing is wrong\n', stderr: '' })
    t.match(await run(['config', 'check', '--json'], { cwd }), { code: 0, stdout: '', stderr: '' })
  })

  t.test('check says all faults at once, and exits with 2', async t => {
    const env = { LEDGERLINE_HTTP_PORT: 'x', LEDGERLINE_LEASE_MS: '1', LEDGERLINE_NOTHING: '1' }
    const { code, lines, stderr } = await run(['config', 'check', '--region', 'two words'], { cwd, env })
    t.equal(code, 2)
    t.strictSame(lines.map(line => /^\w+/.exec(line)![0]),
      ['LEDGERLINE_NOTHING', 'LEDGERLINE_HTTP_PORT', 'LEDGERLINE_REGION', 'LEDGERLINE_LEASE_MS'])
    t.equal(stderr, 'ledgerline: 4 settings are wrong\n')
    const json = await run(['config', 'check', '--json'], { cwd, env: { LEDGERLINE_HTTP_PORT: 'x' } })
    t.match(json, { code: 2, stderr: 'ledgerline: one setting is wrong\n' })
    t.match(JSON.parse(json.stdout), { fault: /^LEDGERLINE_HTTP_PORT/ })
  })

  t.test('show prints what counts and where it is from, without secrets', async t => {
    const env = { LEDGERLINE_HTTP_PORT: '1' }
    const { code, lines, stdout } = await run(['config', 'show', '--tcp-port', '2', '--changed'], { cwd, env })
    t.equal(code, 0)
    t.notMatch(stdout, 'longer than 32')
    t.strictSame(lines.map(line => line.split(/ {2,}/)), [
      ['LEDGERLINE_HTTP_PORT', '1', '(environment)'],
      ['LEDGERLINE_TCP_PORT', '2', '(--tcp-port)'],
      ['LEDGERLINE_JWT_SECRET', '(secret)', `(${join(cwd, '.env')})`],
      ['LEDGERLINE_ROOMS_MAX', '7', `(${join(cwd, 'own.json')})`],
    ])
    const all = await run(['config', 'show', '--json'], { cwd })
    const values = all.lines.map(line => JSON.parse(line) as { variable: string, value: string | null })
    t.match(values.find(({ variable }) => variable === 'LEDGERLINE_NODE_ID'), { value: hostname() })
  })

  t.test('docs prints the page of all settings', async t => {
    t.match(await run(['config', 'docs'], { cwd }), { code: 0, stdout: configurationPage() })
  })

  t.test('start says all faults at once, too', async t => {
    const { code, stderr } = await run(['start'], { cwd, env: { LEDGERLINE_HTTP_PORT: 'x', LEDGERLINE_LEASE_MS: '1' } })
    t.equal(code, 2)
    t.match(stderr, /^ledgerline: LEDGERLINE_HTTP_PORT .*\nledgerline: LEDGERLINE_LEASE_MS .*\n$/)
  })
})
