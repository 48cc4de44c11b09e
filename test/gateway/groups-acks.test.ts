import t from 'tap'
import { formatAckCursor } from '../../gateway/groups/ack-cursor.js'
import { Groups, type GroupsOptions } from '../../gateway/groups/groups.js'

const cursorAt = (nodeId: string) =>
  formatAckCursor({ stream: 'posts', partition: 3, place: { next: 7n, index: 1 }, epoch: 5, nodeId })

function given (toReaders: GroupsOptions['links']['toReaders'] = () => {}) {
  const links: GroupsOptions['links'] = { toReaders, toAsker () {}, acks () {}, ackKnown () {} }
  const groups = new Groups({ log: undefined as never, places: undefined, nodeId: 'n1', links, failed () {} })
  return { groups, links }
}

t.test('Acks of a group', async t => {
  await t.test('have an outcome each: a node that does not answer spoils none of the others', async t => {
    const { groups, links } = given(({ nodeId, askId }) => {
      if (nodeId === 'n2') links.ackKnown({ type: 'ackKnown', nodeId: 'n1', askId, code: '' })
      if (nodeId === 'n3') links.ackKnown({ type: 'ackKnown', nodeId: 'n1', askId, code: 'ledger-unavailable' })
    })
    const cursors = [cursorAt('n2'), cursorAt('n3'), cursorAt('gone'), cursorAt('n1'), 'abc']
    t.strictSame(await groups.ack({ app: '', group: 'orders' }, cursors), [
      { cursor: cursors[0], status: 'acked' },
      { cursor: cursors[1], status: 'rejected', code: 'ledger-unavailable' },
      { cursor: cursors[2], status: 'rejected', code: 'not-leased' },
      { cursor: cursors[3], status: 'rejected', code: 'not-leased' },
      { cursor: cursors[4], status: 'rejected', code: 'bad-request' },
    ])
  })
})
