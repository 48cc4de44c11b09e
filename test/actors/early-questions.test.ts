import t from 'tap'
import { EarlyQuestions } from '../../actors/early-questions.js'
import type { AskRequest } from '../../actors/links.js'

t.test('questions about blocks that are to come', async t => {
  const question = (askId: number, bytes: number): AskRequest => ({
    type: 'askRequest', userId: 'u'.repeat(bytes), partition: 0, nodeId: 'n1', askId, messageId: 'm', content: 1, asOf: 9n,
  })

  t.test('wait in order, up to a MiB of them', async t => {
    const early = new EarlyQuestions<AskRequest>()
    for (let askId = 0; askId < 10_000; askId++) early.add(question(askId, 1_000))
    t.ok(early.size > 900 && early.size < 1_000, `${early.size} of 1 KB each`)
    const { size } = early
    t.strictSame(early.take().map(({ askId }) => askId), Array.from({ length: size }, (_, askId) => askId))
    t.equal(early.size, 0)
    early.add(question(1, 1_000))
    t.equal(early.size, 1, 'and there is room again')
  })
})
