import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { startTestNode } from '../node.js'

const run = promisify(execFile)

/** Python is not compiled: it stays beside its source. */
const folder = new URL('../../../../test/gateway/edge/foreign/', import.meta.url)
const script = (name: string) => fileURLToPath(new URL(name, folder))

/** The first Python that can run `code`; distributions' packages belong to the one in /usr/bin. */
function pythonThatRuns (code: string): string | undefined {
  return ['python3', '/usr/bin/python3'].find(python => spawnSync(python, ['-c', code]).status === 0)
}

const python = pythonThatRuns('import struct, socket')
const pythonWithWebSockets = pythonThatRuns('import websockets')

/** A node at the usual pace, and one that wants a heartbeat every second. */
async function givenNodes (t: Test) {
  const node = await startTestNode(t)
  const brisk = await startTestNode(t, { LEDGERLINE_HEARTBEAT_MS: '1000', LEDGERLINE_NODE_ID: 'n2' })
  const early = Math.trunc(Date.now() / 1_000) + 86_400
  const account = [
    node.http, 'the-key-of-a-test-node', 'snake',
    await node.token('snake'), await node.token('snake', { exp: 4_102_444_800 }), await node.token('snake', { nbf: early }),
  ]
  return { node, brisk, account }
}

t.test('A client that is not ours', async t => {
  t.test('holds a conversation in JSON through Python\'s websockets', {
    skip: pythonWithWebSockets ? false : 'needs Python with websockets: apt install python3-websockets',
  }, async t => {
    const { node, brisk, account } = await givenNodes(t)
    const urls = [node, brisk].map(({ http }) => `${http.replace('http', 'ws')}/v1/connect`)
    const { stdout } = await run(pythonWithWebSockets!, [script('json_conversation.py'), ...urls, ...account])
    t.equal(stdout, 'done\n')
    t.strictSame(node.logged, [])
  })

  t.test('holds a conversation over raw TCP, with every byte written by hand', {
    skip: python ? false : 'needs Python: apt install python3',
  }, async t => {
    const { node, brisk, account } = await givenNodes(t)
    const ports = [node, brisk].map(({ tcpPort }) => String(tcpPort))
    const { stdout } = await run(python!, [script('tcp_conversation.py'), '127.0.0.1', ...ports, ...account])
    t.equal(stdout, 'done\n')
    t.strictSame(node.logged, [])
  })
})
