import type { Test } from 'tap'
import { sendLines } from './http/lines-request.js'
import { startTestNode } from './node.js'

const key = 'the-key-of-a-test-node'

function * linesFor (users: number): Generator<string> {
  yield JSON.stringify({ messageId: 'm1', service: 'news', payload: 'to all', devices: ['phone'] })
  for (let i = 0; i < users; i++) {
    yield JSON.stringify({ userId: `user-${i}` })
    if (i % 1_000 === 500) yield '{"userId":'
  }
}

/** One request for so many users of a whole node, and the same one again. */
export async function sendToMany (t: Test, users: number): Promise<void> {
  const node = await startTestNode(t)
  const wrong = Math.ceil((users - 500) / 1_000)
  const send = async () => await sendLines(`${node.api}/v1/downlinks`, key, linesFor(users))

  const first = await send()
  t.equal(first.status, 202)
  t.strictSame(first.answered.at(-1), { totals: { lines: users + wrong, queued: users, rejected: wrong } })
  const answers = first.answered.filter(({ line }) => line !== undefined)
  t.equal(answers.length, users + wrong)
  t.ok(answers.every(({ line }, i) => line === i + 2), 'in the order of the lines')
  t.equal(new Set(answers.map(({ position }) => position).filter(Boolean)).size, users, 'each at a position of its own')

  const { status, json } = await node.request('GET', '/v1/users/user-4321/state')
  t.equal(status, 200)
  t.match(json, { waiting: [{ messageId: 'm1', service: 'news' }] }, 'it waits for the user')

  const again = await send()
  t.match(again.answered.at(-1), { totals: { lines: users + wrong, duplicate: users, rejected: wrong } }, 'and nobody gets it twice')
}
