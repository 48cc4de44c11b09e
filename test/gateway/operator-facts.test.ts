import t from 'tap'
import { ackedUpTo, connected, uplinks } from './edge/dialects.js'
import { givenApp } from './http/given.js'
import { accessTable, recordedOf } from '../../gateway/http/access.js'
import { ApiKeys } from '../../gateway/keys/api-keys.js'
import { GatewayError } from '../../schemas/errors.js'
import { drawn, givenKeyFile } from './keys/given.js'
import { startTestNode, until } from './node.js'

/** Each of them with the fact that says who; operators' say why, too. */
const factOf: Readonly<Record<string, string>> = {
  'DELETE /v1/bans/:banId': 'BanLifted',
  'DELETE /v1/broadcasts/:messageId': 'BroadcastCancelled',
  'DELETE /v1/connections/:connectionId': 'KickRequested',
  'DELETE /v1/downlinks/:messageId': 'DownlinkRecalled',
  'DELETE /v1/rooms/:roomId': 'RoomClosed',
  'DELETE /v1/users/:userId/connections': 'KickRequested',
  'DELETE /v1/users/:userId/rooms/:roomId': 'RoomRevoked',
  'POST /v1/bans': 'UserBanned',
  'POST /v1/broadcasts': 'BroadcastRequested',
  'POST /v1/nodes/:nodeId/drain': 'NodeDrainRequested',
  'POST /v1/rooms/:roomId/posts': 'PostRequested',
  'POST /v1/users/:userId/redeliveries': 'DownlinkRedelivered',
  'PUT /v1/users/:userId/rooms/:roomId': 'RoomGranted',
}

/** Messages of business, acks of readers, and what only reads. */
const ofNobody = ['POST /v1/audits', 'POST /v1/downlinks', 'POST /v1/groups/:group/acks', 'POST /v1/presence']

t.test('Each route that changes something makes a fact that says who asked', async t => {
  const writes = Object.keys(accessTable).filter(name => !name.startsWith('GET '))
  const known = new Set([...Object.keys(factOf), ...ofNobody])
  t.strictSame(writes.filter(name => recordedOf(name) === undefined && !known.has(name)), [],
    'a new one makes a fact of its own, or stands in recordedTable of http/access.ts')
  t.strictSame([...known].filter(name => accessTable[name] === undefined || recordedOf(name) !== undefined), [])

  t.test('before it is carried out, and not without it, but for what must not wait', async t => {
    const asked: object[] = []
    let isAway = false
    const made: string[] = []
    const { app } = givenApp(t, {
      roles: ['push', 'projections', 'webhooks'],
      recordAsked: async fact => {
        if (isAway) throw new GatewayError('ledger-unavailable')
        asked.push(fact)
      },
      createKey: async () => { made.push('key'); return {} as never },
      revokeKey: async () => { made.push('revoked'); return {} as never },
    })
    const headers = { authorization: 'Bearer key-two-of-the-tests' }
    const url = (path: string) => path.replace(/:\w+/g, 'x')
    const bodies: Record<string, object> = {
      'POST /v1/keys': { name: 'n', scopes: ['read'] },
      'POST /v1/backups': { directory: '/tmp/x', token: '0123456789abcdef' },
      'POST /v1/rebuilds': { table: 'presence' },
    }
    for (const name of Object.keys(accessTable)) {
      const recorded = recordedOf(name)
      if (recorded === undefined) continue
      const [method, path] = name.split(' ') as ['POST' | 'DELETE', string]
      const ask = async (query: string, payload = bodies[name]) =>
        await app.inject({ method, url: url(path) + query, headers, ...payload && { payload } })
      isAway = false
      await ask('?reason=new%20disk')
      await ask('')
      const what = `${method} ${url(path)}`
      t.strictSame(asked.splice(0), [{ app: '', what, by: '', reason: 'new disk' }, { app: '', what, by: '', reason: '' }])
      t.equal((await ask(`?reason=${'x'.repeat(257)}`)).statusCode, 400)
      t.strictSame(asked.splice(0), [], 'a request that is malformed asks for nothing')
      isAway = true
      const madeBefore = made.length
      const answer = await ask('')
      if (recorded === 'before') t.match(answer.json(), { statusCode: 503, code: 'ledger-unavailable' }, name)
      else t.not(answer.statusCode, 503, name)
      t.equal(made.length, madeBefore + (name === 'DELETE /v1/keys/:keyId' ? 1 : 0))
    }
  })
})

t.test('What an operator asks for', async t => {
  t.test('carries the id of the key and the reason, from each route that makes a fact of it', async t => {
    const operator = drawn({ name: 'night shift', scopes: ['operate'] })
    const apiKeys = new ApiKeys(['key-two-of-the-tests'])
    apiKeys.replace({ keys: [operator.stored] })
    const commands: object[] = []
    const { app, asked } = givenApp(t, {
      apiKeys,
      redeliver: async command => {
        commands.push(command)
        return { requestId: '', redelivered: [], notFound: [] }
      },
      ban: async command => {
        commands.push(command)
        return { ...command, position: undefined }
      },
      liftBan: async command => { commands.push(command) },
      drain: async command => {
        commands.push(command)
        return { ...command, drainId: 'd1' }
      },
    })
    for (const [key, by] of [[operator.key, operator.id], ['key-two-of-the-tests', '']] as const) {
      const headers = { authorization: `Bearer ${key}` }
      const ask = async (method: 'POST' | 'DELETE', url: string, payload?: object) => {
        t.equal((await app.inject({ method, url, headers, payload })).statusCode, 202, `${method} ${url}`)
      }
      await ask('DELETE', '/v1/connections/c1?reason=enough')
      await ask('DELETE', '/v1/users/ann/connections?reason=enough')
      t.match(asked.kicks.splice(0), [{ connectionId: 'c1', reason: 'enough', by }, { userId: 'ann', reason: 'enough', by }])
      await ask('POST', '/v1/users/ann/redeliveries', { deviceId: 'd', fromSeq: 1, toSeq: 1, reason: 'lost phone' })
      await ask('POST', '/v1/users/ann/redeliveries', { deviceId: 'd', fromSeq: 1, toSeq: 1 })
      await ask('POST', '/v1/nodes/n1/drain', { reason: 'new disk' })
      await ask('POST', '/v1/nodes/n1/drain', {})
      t.match(commands.splice(0), [
        { by, reason: 'lost phone' }, { by, reason: '' }, { by, reason: 'new disk' }, { by, reason: '' },
      ])
      await ask('POST', '/v1/bans', { userId: 'ann', reason: 'spam' })
      await ask('DELETE', '/v1/bans/b1?userId=ann&reason=sorry')
      t.match(commands.splice(0), [{ userId: 'ann', by, reason: 'spam' }, { banId: 'b1', by, reason: 'sorry' }])
      const forged = await app.inject({
        method: 'POST', url: '/v1/nodes/n1/drain', headers, payload: { by: 'somebody else' },
      })
      t.equal(forged.statusCode, 400, 'nobody can speak for another one')
    }
  })

  t.test('is in the ledger, the trace and the log with the key that asked', async t => {
    const operator = drawn({ name: 'night shift', scopes: ['operate', 'read', 'admin'] })
    const file = await givenKeyFile(t, [operator.stored])
    const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path }, 'info')
    const ask = async (method: string, path: string, body?: object) => await fetch(node.http + path, {
      method,
      headers: {
        authorization: `Bearer ${operator.key}`, ...body === undefined ? {} : { 'content-type': 'application/json' },
      },
      ...body === undefined ? {} : { body: JSON.stringify(body) },
    })
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll(uplinks(1, 1))
    await ackedUpTo(client, 1)
    await node.push('ann', 'hi', { messageId: 'm1' })
    const { deviceId, connectionId } = await until('she is online', async () => {
      const { json } = await node.request('GET', '/v1/users/ann/presence')
      return (json as { sessions: Array<{ deviceId: string, connectionId: string }> }).sessions[0]
    })
    const again = { deviceId, fromSeq: 1, toSeq: 1, reason: 'lost phone' }
    const redelivered = await until('the push has a number', async () => {
      const answer = await (await ask('POST', '/v1/users/ann/redeliveries', again)).json() as { redelivered: object[] }
      return answer.redelivered.length === 1
    })
    t.ok(redelivered)
    t.equal((await ask('DELETE', '/v1/users/ann/connections?reason=enough')).status, 202)
    await client.closed()

    const trace = async (query: string) => (await node.request('GET', `/v1/users/ann/trace?${query}`)).text
    const who = `an operator with the key ${operator.id}`
    t.match(await trace('messageId=m1'), `${who} wants it sent to ${deviceId} once more`)
    t.match(await trace('messageId=m1'), ': lost phone')
    const ended = await until('its end is known', async () => {
      const text = await trace(`connectionId=${connectionId}`)
      return text.includes('was kicked by') && text
    })
    t.match(ended, `told to end with kicked, as ${who} wants: enough`)
    t.match(ended, `was kicked by an operator (kicked-by-operator) with the key ${operator.id}: enough`)
    t.notOk(ended.includes(operator.key.slice(14)))

    const row = await until('its row is there', async () => {
      const { text } = await node.request('GET', '/v1/connections?code=kicked')
      return text.includes(connectionId) && JSON.parse(text.split('\n')[0]!) as object
    })
    t.match(row, { connectionId, code: 'kicked', reason: 'enough', by: operator.id }, 'history, too, says who and why')

    t.equal((await ask('POST', '/v1/bans', { userId: 'ann', reason: 'spam' })).status, 202)
    await t.rejects(connected(t, node, 'TCP', 'ann'))
    const refused = await until('the row of the refused one is there', async () => {
      const { text } = await node.request('GET', '/v1/connections?code=banned')
      return text !== '' && JSON.parse(text.split('\n')[0]!) as object
    })
    t.match(refused, { code: 'banned', reason: 'spam', by: operator.id }, 'and of who is kept out by a ban that was there before')

    await (await ask('POST', '/v1/rebuilds?reason=it%20looks%20odd', { table: 'presence' })).text()
    const { key: made, id: madeId } = await (await ask('POST', '/v1/keys', { name: 'n', scopes: ['read'] })).json() as { key: string, id: string }
    t.equal((await ask('DELETE', `/v1/keys/${madeId}?reason=it%20leaked`)).status, 200)
    const { json: { bans } } = await node.request('GET', '/v1/users/ann/bans') as { json: { bans: object[] } }
    t.match(bans, [{ reason: 'spam', by: operator.id }], 'and whoever looks at a ban')
    const facts = await until('all of it is in the stream nodes', async () => {
      const { text } = await node.request('GET', '/v1/streams/nodes')
      const all = text.split('\n').filter(line => line.includes('OperatorAsked')).map(line => JSON.parse(line) as { nodeId: string, fact: object })
      return all.length >= 3 && all
    })
    t.strictSame(facts.map(({ nodeId, fact }) => ({ nodeId, ...fact })), [
      ['POST /v1/rebuilds', 'it looks odd'], ['POST /v1/keys', ''], [`DELETE /v1/keys/${madeId}`, 'it leaked'],
    ].map(([what, reason]) => ({ nodeId: 'n1', type: 'OperatorAsked', what, by: operator.id, reason })))
    t.notOk(JSON.stringify(facts).includes(made.slice(14)))
    const told = node.logged.filter(({ msg }) => msg === 'an operator asks') as Array<{ msg: string, url?: string }>
    const line = { keyId: operator.id, keyName: 'night shift' }
    t.match(told.at(-3), { ...line, method: 'POST', url: '/v1/rebuilds?reason=it%20looks%20odd' })
    t.match(told.at(-5), { ...line, method: 'DELETE', url: '/v1/users/ann/connections?reason=enough' })
    t.notOk(JSON.stringify(node.logged).includes(operator.key.slice(14)))
    const [realNow, nowMs] = [Date.now, Date.now()]
    Date.now = () => nowMs
    await Promise.all([1, 2, 3].map(() => ask('DELETE', `/v1/keys/${madeId}`))).finally(() => { Date.now = realNow })
    const times = await until('those of one millisecond are there, too', async () => {
      const { text } = await node.request('GET', '/v1/streams/nodes')
      const all = text.split('\n').filter(line => line.includes('OperatorAsked')).map(line => (JSON.parse(line) as { atMs: number }).atMs)
      return all.length >= 6 && all
    })
    t.equal(new Set(times).size, 6, 'each is a record of its own to those who go by message-id')
  })
})
