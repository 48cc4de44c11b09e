import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { readStoreConfig } from '../../gateway/read-config.js'
import { registryAccess } from '../../gateway/registry-access.js'
import type { Environment } from '../../gateway/setting.js'
import { SchemaRegistry } from '../../schemas/registry.js'
import { downlinks } from '../../schemas/streams.js'
import { makeCertificates, opensslMissing } from '../cluster/certificates.js'

t.test('A schema registry that lets in only whom it knows', { skip: opensslMissing() ?? false }, async t => {
  const { ca, otherCa, server, client } = await makeCertificates(t)
  const known = `Basic ${Buffer.from('ann:its secret').toString('base64')}`
  const registry = createServer({
    key: readFileSync(server.key), cert: readFileSync(server.cert), ca: readFileSync(ca), requestCert: true,
  }, (request, response) => {
    const isKnown = request.headers.authorization === known
    request.resume()
    response.writeHead(isKnown ? 200 : 401).end(JSON.stringify(isKnown ? { id: 7 } : { message: 'Unauthorized' }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => { registry.close().closeAllConnections() })
  await once(registry, 'listening')
  const { port } = registry.address() as AddressInfo
  const env = {
    SCHEMA_REGISTRY_URL: `https://127.0.0.1:${port}`,
    SCHEMA_REGISTRY_SSL_CA_FILE: ca,
    SCHEMA_REGISTRY_SSL_CERT_FILE: client.cert,
    SCHEMA_REGISTRY_SSL_KEY_FILE: client.key,
    SCHEMA_REGISTRY_USERNAME: 'ann',
    SCHEMA_REGISTRY_PASSWORD: 'its secret',
  }
  const register = async (of: Environment) => {
    const config = readStoreConfig(of)
    return await new SchemaRegistry(config.schemaRegistryUrl!, registryAccess(config)).register('s', downlinks.schema)
  }

  t.equal(await register(env), 7, 'takes a certificate, a user and a password')
  t.equal(await register({
    ...env,
    SCHEMA_REGISTRY_URL: `https://ann:its%20secret@127.0.0.1:${port}`,
    SCHEMA_REGISTRY_USERNAME: undefined,
    SCHEMA_REGISTRY_PASSWORD: undefined,
  }), 7, 'and those of the URL')

  const refused: Array<[Environment, RegExp]> = [
    [{ ...env, SCHEMA_REGISTRY_PASSWORD: 'wrong' }, /HTTP 401, Unauthorized: check user and password in SCHEMA_REGISTRY_URL/],
    [{ ...env, SCHEMA_REGISTRY_SSL_CA_FILE: otherCa }, /not trusted: name that of its CA in SCHEMA_REGISTRY_SSL_CA_FILE/],
    [{ ...env, SCHEMA_REGISTRY_SSL_SERVER_NAME: 'elsewhere' }, /set SCHEMA_REGISTRY_SSL_SERVER_NAME/],
    [{ ...env, SCHEMA_REGISTRY_SSL_CERT_FILE: undefined, SCHEMA_REGISTRY_SSL_KEY_FILE: undefined }, /wants a client certificate/],
  ]
  for (const [of, message] of refused) await t.rejects(register(of), { code: 'misconfigured', message }, String(message))

  for (const [more, message] of [
    [{ SCHEMA_REGISTRY_URL: 'http://a' }, /^SCHEMA_REGISTRY_URL: got http, want https/],
    [{ SCHEMA_REGISTRY_PASSWORD: '' }, /want both/],
    [{ SCHEMA_REGISTRY_URL: 'https://ann:x@a' }, /got a user in both/],
  ] as const) t.throws(() => readStoreConfig({ ...env, ...more }), { name: 'ConfigError', message }, String(message))
})
