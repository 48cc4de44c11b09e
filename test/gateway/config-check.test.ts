import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { settings } from '../../gateway/config.js'
import { effectiveSettings, faultsOf } from '../../gateway/config-check.js'
import { configurationPage } from '../../gateway/config-docs.js'
import type { Environment, Setting } from '../../gateway/setting.js'

const sources = (values: Environment) => [{ name: 'environment', values, misspelt: [] }]
const faults = (values: Environment, options: Environment = {}) => faultsOf(sources(values), options)

t.test('faultsOf', async t => {
  t.test('finds nothing in the defaults', async t => {
    t.strictSame(faults({}), [])
  })

  t.test('says all that is wrong: names, values, contradictions, files', async t => {
    const misspelt = [{ name: 'LEDGERLINE_ULR', meant: 'LEDGERLINE_URL' }]
    const values = {
      LEDGERLINE_HTTP_PORT: 'x',
      LEDGERLINE_FRAME_RATE: '-1',
      LEDGERLINE_METRICS_OPEN: 'true',
      KAFKA_BROKERS: 'a:9092',
      KAFKA_MIN_INSYNC_REPLICAS: '3',
      KAFKA_REPLICATION_FACTOR: '2',
      KAFKA_SASL_USERNAME: 'ann',
      LEDGERLINE_API_KEYS_FILE: '/not/there',
      LEDGERLINE_TLS_CERT: '/nor/there',
      LEDGERLINE_WEBHOOKS: '[{}]',
    }
    const found = faultsOf([{ name: 'environment', values, misspelt }], {})
    t.strictSame(found.map(fault => /^\w+/.exec(fault)![0]), [
      'LEDGERLINE_ULR', 'LEDGERLINE_HTTP_PORT', 'LEDGERLINE_FRAME_RATE', 'LEDGERLINE_WEBHOOKS', 'LEDGERLINE_API_PORT', 'REDIS_URL',
      'KAFKA_MIN_INSYNC_REPLICAS', 'KAFKA_SASL_MECHANISM', 'LEDGERLINE_TLS_CERT', 'LEDGERLINE_API_KEYS_FILE',
    ])
  })

  t.test('draws no conclusion from a value that is wrong', async t => {
    t.strictSame(faults({ KAFKA_BROKERS: 'kafka', REDIS_URL: 'redis://a:1' }).map(fault => /^\w+/.exec(fault)![0]), ['KAFKA_BROKERS'])
  })

  t.test('says once what two checks stumble over', async t => {
    t.equal(faults({ LEDGERLINE_APPS: '/not/there' }).length, 1)
  })

  t.test('takes an option before a variable', async t => {
    t.strictSame(faults({ LEDGERLINE_HTTP_PORT: 'x' }, { LEDGERLINE_HTTP_PORT: '1' }), [])
  })

  t.test('shows no secret', async t => {
    const secrets = Object.values<Setting>(settings).filter(({ secret }) => secret).map(({ variable }) => [variable, 'hush'])
    t.notMatch(faults(Object.fromEntries(secrets)).filter(fault => !/_(APPS|WEBHOOKS|ISSUERS)/.test(fault)).join('\n'), 'hush')
  })
})

t.test('effectiveSettings', async t => {
  const of = (variable: string, values: Environment, options: Environment = {}) =>
    effectiveSettings([...sources(values), { name: '/etc/own.json', values: { LEDGERLINE_REGION: 'north' }, misspelt: [] }], options)
      .find(setting => setting.variable === variable)

  t.test('says where each is from', async t => {
    t.match(of('LEDGERLINE_REGION', { LEDGERLINE_REGION: 'a' }, { LEDGERLINE_REGION: 'b' }), { value: 'b', from: '--region' })
    t.match(of('LEDGERLINE_REGION', { LEDGERLINE_REGION: 'a' }), { value: 'a', from: 'environment' })
    t.match(of('LEDGERLINE_REGION', {}), { value: 'north', from: '/etc/own.json' })
    t.match(of('LEDGERLINE_HTTP_PORT', {}), { value: '8080', from: 'default' })
    t.match(of('LEDGERLINE_API_PORT', {}), { value: null, from: 'default' })
    t.match(of('LEDGERLINE_DATA', {}), { value: join(process.cwd(), 'data') })
  })

  t.test('shows a value that is wrong as it is, and no secret', async t => {
    t.match(of('LEDGERLINE_HTTP_PORT', { LEDGERLINE_HTTP_PORT: 'x' }), { value: 'x' })
    t.match(of('LEDGERLINE_JWKS_URL', { LEDGERLINE_JWKS_URL: 'https://ann:hush@a/b' }), { value: 'https://…@a/b' })
    for (const variable of ['LEDGERLINE_AUTH_URL', 'KAFKA_SASL_TOKEN_URL', 'OTEL_EXPORTER_OTLP_ENDPOINT']) {
      t.match(of(variable, { [variable]: 'https://a/b?key=hush&more' }), { value: 'https://a/b?…' }, variable)
    }
    for (const { variable, secret } of Object.values<Setting>(settings)) {
      if (secret) t.match(of(variable, { [variable]: 'hush' }), { value: '(secret)', from: 'environment' }, variable)
    }
  })
})

t.test('docs/configuration.md', async t => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')

  t.test('is what `ledgerline config docs` prints', async t => {
    t.equal(page, configurationPage())
  })

  t.test('has every setting once', async t => {
    const rows = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, variable]) => variable)
    t.strictSame(rows, Object.values<Setting>(settings).map(({ variable }) => variable))
  })
})
