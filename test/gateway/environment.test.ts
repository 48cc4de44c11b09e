import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { merged, misspeltIn, readEnvironment, readSources } from '../../gateway/environment.js'

/** Sets variables of this process until the test is over. */
function given (t: Test, env: Record<string, string>): void {
  const { env: before } = process
  process.env = { ...before, ...env }
  t.teardown(() => { process.env = before })
}

t.test('readEnvironment', async t => {
  t.test('takes the environment before .env, and that before the file that LEDGERLINE_CONFIG names', async t => {
    const directory = t.testdir({
      '.env': 'LEDGERLINE_REGION=of-env-file\nLEDGERLINE_NODE_ID=of-env-file\nLEDGERLINE_CONFIG=own.json\n',
      'own.json': JSON.stringify({ LEDGERLINE_REGION: 'json', LEDGERLINE_NODE_ID: 'json', LEDGERLINE_HOST: 'json' }),
    })
    given(t, { LEDGERLINE_REGION: 'process' })
    t.match(readEnvironment(directory), {
      LEDGERLINE_REGION: 'process', LEDGERLINE_NODE_ID: 'of-env-file', LEDGERLINE_HOST: 'json',
    })
    t.strictSame(readSources(directory).map(({ name }) => name),
      ['environment', join(directory, '.env'), join(directory, 'own.json')])
  })

  t.test('reads numbers, lists and objects of a JSON file as a variable would have them', async t => {
    const text = JSON.stringify({
      LEDGERLINE_HTTP_PORT: 8080,
      LEDGERLINE_METRICS_OPEN: true,
      KAFKA_BROKERS: ['a:9092', 'b:9092'],
      LEDGERLINE_APPS: [{ name: 'a' }],
    })
    const directory = t.testdir({ 'own.json': text })
    given(t, { LEDGERLINE_CONFIG: join(directory, 'own.json') })
    t.match(readEnvironment(directory), {
      LEDGERLINE_HTTP_PORT: '8080',
      LEDGERLINE_METRICS_OPEN: 'true',
      KAFKA_BROKERS: 'a:9092,b:9092',
      LEDGERLINE_APPS: '[{"name":"a"}]',
    })
  })

  t.test('names every variable that would do nothing, and where it is', async t => {
    const directory = t.testdir({
      '.env': 'LEDGERLINE_REGOIN=x\n', 'own.json': '{ "KAFKA_HEAP_OPTS": "x", "LEDGERLINE_CONFIG": "y" }',
    })
    given(t, { LEDGERLINE_CONFIG: 'own.json', LEDGERLINE_HTPP_PORT: '1', KAFKA_HEAP_OPTS: '-Xmx1g' })
    const list = '`ledgerline config docs` lists them all'
    t.strictSame(misspeltIn(readSources(directory)).map(({ message }) => message), [
      'LEDGERLINE_HTPP_PORT: there is no such variable; did you mean LEDGERLINE_HTTP_PORT?',
      `LEDGERLINE_REGOIN in ${directory}/.env: there is no such variable; did you mean LEDGERLINE_REGION?`,
      `KAFKA_HEAP_OPTS in ${directory}/own.json: there is no such variable; ${list}`,
      `LEDGERLINE_CONFIG in ${directory}/own.json: there is no such variable; ${list}`,
    ])
    t.throws(() => readEnvironment(directory), { name: 'ConfigError', faults: { length: 4 } })
  })

  for (const [what, content, message] of [
    ['not there', undefined, /^LEDGERLINE_CONFIG: got ".*own\.json", want a file that can be read \(ENOENT\)/],
    ['no JSON, without showing it', '{ "LEDGERLINE_JWT_SECRET": "hush', /^(?!.*hush).*own\.json: want a JSON object of variables/],
    ['a list', '[]', /own\.json: want a JSON object/],
    ['null', 'null', /own\.json: want a JSON object/],
  ] as const) {
    t.test(`refuses a JSON file that is ${what}`, async t => {
      const directory = t.testdir()
      if (content !== undefined) writeFileSync(join(directory, 'own.json'), content)
      given(t, { LEDGERLINE_CONFIG: 'own.json' })
      t.throws(() => readEnvironment(directory), { name: 'ConfigError', message })
    })
  }
})

t.test('merged gives the first source that has a variable', async t => {
  t.strictSame(merged([{ values: { A: '1' } }, { values: { A: '2', B: '2' } }]), { A: '1', B: '2' })
})
