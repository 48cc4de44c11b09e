import t from 'tap'
import { ackedUpTo, connected, uplinks } from './edge/dialects.js'
import { givenApp } from './http/given.js'
import { ApiKeys } from '../../gateway/keys/api-keys.js'
import { drawn, givenKeyFile } from './keys/given.js'
import { startTestNode, until } from './node.js'

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

    await (await ask('POST', '/v1/rebuilds', { table: 'presence' })).text()
    const told = node.logged.filter(({ msg }) => msg === 'an operator asks') as Array<{ msg: string, url?: string }>
    const line = { keyId: operator.id, keyName: 'night shift' }
    t.match(told.at(-1), { ...line, method: 'POST', url: '/v1/rebuilds' })
    t.match(told.at(-3), { ...line, method: 'DELETE', url: '/v1/users/ann/connections?reason=enough' })
    t.notOk(JSON.stringify(node.logged).includes(operator.key.slice(14)))
  })
})
