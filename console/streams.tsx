import type { FollowerLag } from '../gateway/lag.js'
import type { Topic } from '../gateway/topics.js'
import { useAsked } from './hooks.js'
import { Page, Table, Trouble } from './parts.js'
import { bytesOf, command, numberOf, timeOf, whileOf } from './words.js'

/** What each stream holds, and who is behind. */
export function StreamsPage () {
  const lag = useAsked<{ followers: FollowerLag[] }>('/v1/lag', 3_000)
  const topics = useAsked<{ topics: Topic[] }>('/v1/topics', 10_000)
  return (
    <Page title='Streams' shell={[command('lag'), command('topics')]}>
      <Trouble error={lag.error ?? topics.error} />
      <h2>Who is behind</h2>
      {lag.value && (
        <Table label='Followers' heads={['Follower', 'Stream', 'Blocks behind', 'Deleted unread', 'Oldest', 'Partitions', 'Stands still']}>
          {lag.value.followers.map(({ follower, stream, blocks, gone, ms, partitions, standing, unknown }) => (
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
      )}
      <h2>What is kept</h2>
      {topics.value && (
        <Table label='Streams' heads={['Stream', 'Topic', 'Partitions', 'Blocks', 'Oldest', 'Newest', 'Kept for', 'Kept up to']}>
          {topics.value.topics.map(({ stream, topic, partitions, blocks, retentionMs, retentionBytes }) => (
            <tr key={stream}>
              <th scope='row'>{stream}</th>
              <td>{topic ?? ''}</td>
              <td class='number'>{partitions.length}</td>
              <td class='number'>{numberOf(blocks)}</td>
              <td class='time'>{timeIn(partitions.map(({ firstAtMs }) => firstAtMs), Math.min)}</td>
              <td class='time'>{timeIn(partitions.map(({ lastAtMs }) => lastAtMs), Math.max)}</td>
              <td>{retentionMs === null ? 'ever' : whileOf(retentionMs)}</td>
              <td>{retentionBytes === null ? '' : bytesOf(retentionBytes)}</td>
            </tr>
          ))}
        </Table>
      )}
    </Page>
  )
}

function timeIn (times: ReadonlyArray<number | null>, pick: (...times: number[]) => number): string {
  const known = times.filter(atMs => atMs !== null)
  return known.length === 0 ? '' : timeOf(pick(...known))
}
