import t from 'tap'
import { reachable } from '../../gateway/reachable.js'
import { startTestNode } from './node.js'

t.test('Endpoints that a node made up itself', async t => {
  const madeUp = new Set(['ws://127.0.0.1:8080/v1/connect', 'tcp://127.0.0.1:9100'])

  t.test('lead to where the asker has reached it', async t => {
    t.strictSame(reachable([...madeUp], 'gateway.example.com:80', madeUp),
      ['ws://gateway.example.com/v1/connect', 'tcp://gateway.example.com:9100'])
    t.strictSame(reachable([...madeUp], '192.168.1.7:9000', madeUp),
      ['ws://192.168.1.7:9000/v1/connect', 'tcp://192.168.1.7:9100'])
    t.strictSame(reachable([...madeUp], '[fd00::1]:8080', madeUp),
      ['ws://[fd00::1]:8080/v1/connect', 'tcp://[fd00::1]:9100'])
  })

  t.test('stay as they are where the request says nothing of use', async t => {
    for (const host of ['', 'a b', '/', ':80']) t.strictSame(reachable([...madeUp], host, madeUp), [...madeUp], host)
  })

  t.test('are the only ones that change', async t => {
    t.strictSame(reachable(['ws://edge.example.com/v1/connect'], '10.0.0.1', madeUp), ['ws://edge.example.com/v1/connect'])
  })
})

t.test('A node in a container, listening on all addresses', async t => {
  const node = await startTestNode(t, { LEDGERLINE_HOST: '0.0.0.0' })
  for (const [transport, endpoint] of [
    ['ws', `ws://localhost:${node.httpPort}/v1/connect`], ['tcp', `tcp://localhost:${node.tcpPort}`],
  ]) {
    const answer = await fetch(`http://localhost:${node.httpPort}/v1/ip-config?transport=${transport}`)
    t.match(await answer.json(), { endpoints: [endpoint] })
  }
})
