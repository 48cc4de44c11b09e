import t from 'tap'
import { allMisspelt } from '../../gateway/misspelt.js'

const known = ['LEDGERLINE_HTTP_PORT', 'LEDGERLINE_DATA', 'KAFKA_BROKERS', 'REDIS_URL']

t.test('allMisspelt', async t => {
  const cases: Array<[Record<string, string>, string | undefined, string?]> = [
    [{ LEDGERLINE_HTTP_PORT: '1', KAFKA_BROKERS: 'a:1', PATH: '/bin' }, undefined],
    [{ LEDGERLINE_HTPP_PORT: '1' }, 'LEDGERLINE_HTPP_PORT', 'LEDGERLINE_HTTP_PORT'],
    [{ LEDGERLINE_HTTPPORT: '1' }, 'LEDGERLINE_HTTPPORT', 'LEDGERLINE_HTTP_PORT'],
    [{ ledgerline_data: 'd' }, 'ledgerline_data', 'LEDGERLINE_DATA'],
    [{ LEDGERLINE_NOTHING: '1' }, 'LEDGERLINE_NOTHING', undefined],
    [{ LEDGERLINE_NOTHING: '' }, undefined],
    [{ KAFKA_BROKER: 'a:1' }, 'KAFKA_BROKER', 'KAFKA_BROKERS'],
    [{ REDIS_URI: 'r' }, 'REDIS_URI', 'REDIS_URL'],
  ]
  for (const [env, name, meant] of cases) {
    t.strictSame(allMisspelt(env, known), name === undefined ? [] : [{ name, meant }], JSON.stringify(env))
  }
  t.test('leaves to other programs what is theirs', async t => {
    t.strictSame(allMisspelt({ KAFKA_HEAP_OPTS: '-Xmx1g', REDIS_HOST: 'r', KAFKA_BROKER_ID: '1' }, known), [])
    t.strictSame(allMisspelt({ REDIS_URL: 'r', REDIS_URI: 'r' }, known), [])
  })
  t.test('knows what Kubernetes sets for a service of our name', async t => {
    t.strictSame(allMisspelt({
      LEDGERLINE_SERVICE_HOST: '10.0.0.1',
      LEDGERLINE_SERVICE_PORT: '8080',
      LEDGERLINE_SERVICE_PORT_HTTP: '8080',
      LEDGERLINE_PORT: 'tcp://10.0.0.1:8080',
      LEDGERLINE_EDGE_PORT: 'tcp://10.0.0.1:8080',
      LEDGERLINE_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
      LEDGERLINE_PORT_8080_TCP_ADDR: '10.0.0.1',
    }, known), [])
  })
})
