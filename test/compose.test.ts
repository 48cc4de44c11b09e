import { Ajv } from 'ajv'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { roles, settings } from '../gateway/config.js'
import type { Setting } from '../gateway/setting.js'
import { kafkaVersion } from './cluster/kafka.js'
import { registryVersion } from './cluster/registry.js'

interface Service {
  readonly image: string
  readonly build?: string
  readonly environment?: Record<string, string | number>
  readonly depends_on?: Record<string, { condition: string }>
  readonly healthcheck?: object
  readonly ports?: string[]
}

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** Compose fills in variables after it has parsed; here each has its default. */
const compose = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service> }
const services = Object.entries(compose.services)
const nodes = services.filter(([, { build }]) => build !== undefined)
const known = new Map<string, Setting>(Object.values(settings).map(setting => [setting.variable, setting]))

t.test('docker-compose.yml', async t => {
  t.test('is what the Compose specification wants', async t => {
    const { $schema, ...schema } = JSON.parse(read('test/cluster/compose-spec.json'))
    t.equal($schema, 'https://json-schema.org/draft-07/schema')
    // Formats only annotate: durations and ports are for Compose itself to parse.
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(schema)
    validate(compose)
    t.strictSame(validate.errors, null)
  })

  t.test('sets only what a node knows, to values that it takes', async t => {
    for (const [service, { environment = {} }] of nodes) {
      for (const [variable, value] of Object.entries(environment)) {
        const parsed = known.get(variable)?.parse(withDefaults(String(value)))
        t.not(parsed, undefined, `${service}: ${variable}=${value}`)
      }
    }
  })

  t.test('gives every node a name of its own, and the same cluster', async t => {
    const of = (variable: string) => nodes.map(([, { environment }]) => environment![variable])
    t.equal(new Set(of('LEDGERLINE_NODE_ID')).size, nodes.length)
    const shared = ['KAFKA_BROKERS', 'REDIS_URL', 'SCHEMA_REGISTRY_URL', 'LEDGERLINE_JWT_SECRET', 'LEDGERLINE_API_KEYS']
    for (const variable of shared) {
      t.equal(new Set(of(variable)).size, 1, variable)
      t.ok(of(variable)[0], variable)
    }
  })

  t.test('has two nodes for whatever holds sockets or users, and one for the rest', async t => {
    const counts = Object.fromEntries(roles.map(role => [role, nodes.filter(([, { environment }]) =>
      String(environment!['LEDGERLINE_ROLES']).split(',').includes(role)).length]))
    t.strictSame(counts, { edge: 2, users: 2, push: 2, 'ip-config': 1, projections: 1, console: 1, webhooks: 1 })
  })

  t.test('starts nothing before what it needs is healthy', async t => {
    for (const [service, { depends_on: needed = {} }] of services) {
      for (const [other, { condition }] of Object.entries(needed)) {
        t.equal(condition, 'service_healthy', `${service} needs ${other}`)
        t.ok(compose.services[other]?.healthcheck, `${other} has a health check`)
      }
    }
    for (const [service, { depends_on: needed }] of nodes) {
      t.match(needed, { kafka: {}, redis: {}, registry: {} }, service)
    }
  })

  t.test('runs the servers that the tests run on, and pins each', async t => {
    t.equal(compose.services['kafka']?.image, `apache/kafka:${kafkaVersion}`)
    t.equal(compose.services['registry']?.image, `apicurio/apicurio-registry-kafkasql:${registryVersion}`)
    for (const [service, { image }] of services) t.match(image, /:(?!latest$)[\w.-]+$/, service)
  })

  t.test('is reached from this machine only, each port by one service', async t => {
    const ports = services.flatMap(([, { ports = [] }]) => ports)
    for (const port of ports) t.match(port, /^127\.0\.0\.1:\d+:\d+$/)
    t.equal(new Set(ports.map(port => port.split(':')[1])).size, ports.length)
  })
})

function withDefaults (text: string): string {
  return text.replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1')
}
