import type { FollowerLag } from '../gateway/lag.js'
import { Table } from './parts.js'
import { numberOf, whileOf } from './words.js'

/** Who follows which stream, and how far behind its end. */
export function Followers ({ followers }: { readonly followers: readonly FollowerLag[] }) {
  return (
    <Table label='Followers' heads={['Follower', 'Stream', 'Blocks behind', 'Deleted unread', 'Oldest', 'Partitions', 'Stands still']}>
      {followers.map(({ follower, stream, blocks, gone, ms, partitions, standing, unknown }) => (
        <tr key={`${follower} ${stream}`}>
          <th scope='row'>{follower}</th>
          <td>{stream}</td>
          <td class='number'>{numberOf(blocks)}</td>
          <td class='number'>{gone === 0 ? '' : numberOf(gone)}</td>
          <td class='number'>{ms === 0 ? 'nothing waits' : whileOf(ms)}</td>
          <td class='number'>{partitions.length}</td>
          <td>
            {standing.map(({ partition, reason }) => `${partition}: ${reason}`).join('; ')}
            {unknown === '' ? '' : ` not known: ${unknown}`}
          </td>
        </tr>
      ))}
    </Table>
  )
}
