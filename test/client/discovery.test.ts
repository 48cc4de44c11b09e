import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { Endpoints } from '../../client/endpoints.js'
import { ipConfigOf } from '../../client/ip-config.js'
import { inMemory } from '../../client/node.js'
import type { ClientEvents } from '../../client/node.js'
import type { Address } from '../../client/platform.js'
import { givenClient, givenEdge } from './given.js'

const config = (endpoints: readonly string[]) => ({ endpoints, ttlMs: 60_000, backoff: { baseMs: 1, capMs: 2 } })

t.test('Endpoints', async t => {
  function given (lists: Array<readonly string[] | Error>, resolve?: (host: string) => string[]) {
    let nowMs = 0
    const endpoints = new Endpoints({
      ipConfig: async () => {
        const list = lists.length > 1 ? lists.shift()! : lists[0]!
        if (list instanceof Error) throw list
        return config(list)
      },
      nowMs: () => nowMs,
      resolve,
    })
    const take = async (count: number) => {
      const taken: Address[] = []
      while (taken.length < count) taken.push(await endpoints.next())
      return taken.map(({ url, ip }) => ip === undefined ? url : `${url} at ${ip}`)
    }
    return { endpoints, take, pass: (ms: number) => { nowMs += ms } }
  }

  t.test('are used in turn, and then there is a new list', async t => {
    const { take } = given([['ws://a', 'ws://b'], ['ws://c']])
    t.strictSame(await take(4), ['ws://a', 'ws://b', 'ws://c', 'ws://c'])
  })

  t.test('are not used beyond their time to live', async t => {
    const { take, pass } = given([['ws://a', 'ws://b', 'ws://c'], ['ws://d']])
    t.strictSame(await take(1), ['ws://a'])
    pass(59_999)
    t.strictSame(await take(1), ['ws://b'])
    pass(1)
    t.strictSame(await take(1), ['ws://d'])
  })

  t.test('are the last good ones while ip-config is away', async t => {
    const { take } = given([['ws://a', 'ws://b'], new Error('away')])
    t.strictSame(await take(5), ['ws://a', 'ws://b', 'ws://a', 'ws://b', 'ws://a'])
  })

  t.test('are those of an earlier run where ip-config never answered', async t => {
    const { take, endpoints } = given([new Error('away'), ['ws://b']])
    endpoints.restore(['ws://a'])
    t.strictSame(await take(2), ['ws://a', 'ws://b'])
  })

  t.test('are unknown where it never answered and there was no earlier run', async t => {
    await t.rejects(given([new Error('away')]).endpoints.next(), { message: 'away' })
  })

  t.test('are those first that a server names, and a new list after them', async t => {
    const { take, endpoints } = given([['ws://a', 'ws://b'], ['ws://c']])
    await take(1)
    endpoints.prefer(['ws://x', 'ws://y'])
    t.strictSame(await take(3), ['ws://x', 'ws://y', 'ws://c'])
  })

  t.test('are tried at each address that the application has for their host, and by name at last', async t => {
    const { take } = given([['wss://a.example/x', 'wss://b.example']], host => {
      if (host === 'b.example') throw new Error('unknown')
      return ['192.0.2.1', '192.0.2.2']
    })
    t.strictSame(await take(4), ['wss://a.example/x at 192.0.2.1', 'wss://a.example/x at 192.0.2.2', 'wss://a.example/x',
      'wss://b.example'])
  })
})

t.test('ip-config', async t => {
  function given (answers: Record<string, unknown>, urls: string[], resolve?: () => string[]) {
    const asked: string[] = []
    const ask = ipConfigOf({
      urls,
      transport: 'tcp',
      region: 'north',
      resolve,
      getJson: async ({ url, ip }) => {
        asked.push(ip ?? new URL(url).host)
        const answer = answers[ip ?? new URL(url).host]
        if (answer === undefined) throw new Error('nobody there')
        return answer
      },
    })
    return { ask, asked, answers }
  }

  t.test('is asked at each URL in turn, and where it answered first from then on', async t => {
    const { ask, asked } = given({ b: config(['tcp://x']) }, ['http://a/', 'http://b/', 'http://c/'])
    t.strictSame(await ask(), config(['tcp://x']))
    await ask()
    t.strictSame(asked, ['a', 'b', 'b'])
  })

  t.test('is asked at the addresses of its host before its name', async t => {
    const { ask, asked } = given({ 'a.example': config(['tcp://x']) }, ['https://a.example/'], () => ['192.0.2.1'])
    await ask()
    t.strictSame(asked, ['192.0.2.1', 'a.example'])
  })

  for (const answer of [{ endpoints: 'ws://a' }, { endpoints: [] }, { endpoints: [1] }, {}]) {
    t.test(`has not answered with ${JSON.stringify(answer)}`, async t => {
      const { ask } = given({ a: answer, b: config(['tcp://x']) }, ['http://a/', 'http://b/'])
      t.strictSame((await ask()).endpoints, ['tcp://x'])
    })
  }

  t.test('fails with what the last one said', async t => {
    await t.rejects(given({}, ['http://a/', 'http://b/']).ask(), { message: 'ip-config at b: nobody there' })
  })
})

t.test('A client with ip-config', async t => {
  async function givenIpConfig (answer: () => object | undefined) {
    const asked: string[] = []
    const server = createServer((request, response) => {
      asked.push(`${request.headers.host} ${request.url}`)
      const body = answer()
      response.statusCode = body ? 200 : 503
      response.end(JSON.stringify(body ?? {}))
    }).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    return { port: (server.address() as AddressInfo).port, asked }
  }

  t.test('finds its endpoints, waits as it says, and remembers them in its storage', async t => {
    const edge = await givenEdge(t)
    let isAway = false
    const { port, asked } = await givenIpConfig(() => isAway ? undefined : config([edge.url]))
    const options = {
      endpoints: undefined,
      ipConfig: ['http://127.0.0.1:1/v1/ip-config', `http://gateway.test:${port}/v1/ip-config`],
      resolve: (host: string) => host === 'gateway.test' ? ['127.0.0.1'] : [],
      transport: 'tcp' as const,
      region: 'north',
      storage: inMemory(),
      random: () => 0.99,
    }
    const first = givenClient(t, [], options)
    const waits: number[] = []
    first.on('disconnected', ({ retryInMs }) => waits.push(retryInMs))
    first.connect()
    const peer = await edge.peer()
    await peer.next('connect')
    t.strictSame(asked, [`gateway.test:${port} /v1/ip-config?transport=tcp&region=north`])
    peer.cut()
    await edge.peer()
    t.ok(waits[0]! < 1, `${waits[0]} ms`)
    await first.close()

    isAway = true
    givenClient(t, [], options).connect()
    await (await edge.peer()).accept()
  })

  t.test('says that nothing answers', async t => {
    const client = givenClient(t, [], { endpoints: undefined, ipConfig: 'http://127.0.0.1:1/' })
    const ended = new Promise<ClientEvents['disconnected']>(resolve => client.on('disconnected', resolve))
    client.connect()
    t.match(await ended, { code: 'connection-lost', reason: /ip-config at 127.0.0.1:1: .*ECONNREFUSED/, willReconnect: true })
  })

  for (const [options, message] of [
    [{ endpoints: undefined }, /^endpoints, ipConfig: got .*, want one of the two$/],
    [{ endpoints: [] }, 'endpoints: got [], want at least one URL'],
    [{ endpoints: ['http://a'] }, /^URL: got "http:\/\/a", want ws, wss, tcp, tls/],
    [{ endpoints: ['tcp://a:1'], encoding: 'json' }, 'encoding: got "json", want avro, over TCP'],
    [{ endpoints: ['ws://a'], deviceId: '' }, /^deviceId: got "", want 1 to 256 bytes/],
    [{ endpoints: ['ws://a'], getToken: undefined }, 'getToken: got undefined, want a function'],
  ] as Array<[any, string | RegExp]>) {
    t.test(`is not made with ${JSON.stringify(options)}`, async t => {
      t.throws(() => givenClient(t, [], options), { name: 'TypeError', message })
    })
  }
})
