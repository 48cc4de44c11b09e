import t from 'tap'
import { givenApp } from './given.js'

t.test('The OpenAPI document', async t => {
  const { app } = givenApp(t)
  const document = (await app.inject('/openapi.json')).json()

  t.test('is of version 3.1 and names the program\'s version', async t => {
    t.match(document, { openapi: /^3\.1\./, info: { title: 'Ledgerline', version: '1.2.3' } })
  })

  t.test('has every route but itself', async t => {
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods as object).map(method => `${method.toUpperCase()} ${path}`))
    t.strictSame(routes.sort(), [
      'DELETE /v1/bans/{banId}',
      'DELETE /v1/broadcasts/{messageId}',
      'DELETE /v1/connections/{connectionId}',
      'DELETE /v1/downlinks/{messageId}',
      'DELETE /v1/groups/{group}',
      'DELETE /v1/keys/{keyId}',
      'DELETE /v1/rooms/{roomId}',
      'DELETE /v1/users/{userId}/connections',
      'DELETE /v1/users/{userId}/rooms/{roomId}',
      'GET /healthz',
      'GET /metrics',
      'GET /readyz',
      'GET /v1/broadcasts/{messageId}',
      'GET /v1/connections',
      'GET /v1/groups',
      'GET /v1/groups/{group}',
      'GET /v1/health',
      'GET /v1/ip-config',
      'GET /v1/keys',
      'GET /v1/lag',
      'GET /v1/log',
      'GET /v1/log/{stream}',
      'GET /v1/log/{stream}/{partition}',
      'GET /v1/nodes',
      'GET /v1/nodes/{nodeId}/drain',
      'GET /v1/rooms/{roomId}',
      'GET /v1/rooms/{roomId}/members',
      'GET /v1/rooms/{roomId}/posts',
      'GET /v1/rooms/{roomId}/state',
      'GET /v1/rooms/{roomId}/trace',
      'GET /v1/streams/nodes',
      'GET /v1/streams/{stream}',
      'GET /v1/topics',
      'GET /v1/uplinks',
      'GET /v1/users/{userId}/bans',
      'GET /v1/users/{userId}/presence',
      'GET /v1/users/{userId}/rooms',
      'GET /v1/users/{userId}/state',
      'GET /v1/users/{userId}/timeline',
      'GET /v1/users/{userId}/trace',
      'POST /v1/audits',
      'POST /v1/backups',
      'POST /v1/bans',
      'POST /v1/broadcasts',
      'POST /v1/downlinks',
      'POST /v1/groups/{group}/acks',
      'POST /v1/keys',
      'POST /v1/nodes/{nodeId}/drain',
      'POST /v1/presence',
      'POST /v1/rooms/{roomId}/posts',
      'POST /v1/users/{userId}/redeliveries',
      'PUT /v1/users/{userId}/rooms/{roomId}',
    ])
  })

  t.test('describes every answer, and refers only to what is in it', async t => {
    for (const methods of Object.values(document.paths)) {
      for (const operation of Object.values(methods as Record<string, any>)) {
        t.type(operation.summary, 'string')
        t.ok(Object.keys(operation.responses).some(status => status.startsWith('2')))
        for (const answer of Object.values<any>(operation.responses)) t.type(answer.description, 'string')
      }
    }
    const refs = JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)
    for (const [, path] of refs) t.ok(path!.split('/').reduce((node, name) => node?.[name], document), `${path} exists`)
  })

  t.test('wants a key for all but the public routes', async t => {
    t.strictSame(document.security, [{ apiKey: [] }])
    t.strictSame(document.paths['/v1/ip-config'].get.security, [])
    t.strictSame(document.paths['/v1/nodes'].get.security, [{ apiKey: ['read'] }])
  })

  t.test('has no pattern that other languages can not read', async t => {
    for (const [, pattern] of JSON.stringify(document).matchAll(/"pattern":"((?:[^"\\]|\\.)*)"/g)) {
      t.notMatch(pattern, /\\p\{|\\ud[89a-f]/i)
    }
  })

  t.test('says of each id that it is one, and lets no other field or parameter in', async t => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const operation of Object.values(methods as Record<string, any>)) {
        const ids = (operation.parameters ?? []).filter(({ name }: any) => /Id$/.test(name))
        for (const { name, schema } of ids) t.equal(schema.format, 'id', `${name} of ${path}`)
        const body = operation.requestBody?.content['application/json'].schema
        if (body) t.equal(body.additionalProperties, false, path)
      }
    }
  })

  t.test('names each path parameter', async t => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const wanted = Array.from(path.matchAll(/\{(\w+)\}/g), match => match[1])
      for (const operation of Object.values(methods as Record<string, any>)) {
        const named = (operation.parameters ?? []).filter((each: any) => each.in === 'path').map((each: any) => each.name)
        t.strictSame(named, wanted, path)
      }
    }
  })
})
