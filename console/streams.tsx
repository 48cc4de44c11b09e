import type { FollowerLag } from '../gateway/lag.js'
import type { Topic } from '../gateway/topics.js'
import { ofApp } from './app.js'
import { Followers } from './followers.js'
import { GroupPage } from './group.js'
import { Groups } from './groups.js'
import { useAsked } from './hooks.js'
import { Page, Table, Trouble } from './parts.js'
import type { PageProps } from './shell.js'
import { bytesOf, command, curl, numberOf, timeOf, whileOf } from './words.js'

/** What each stream holds, who is behind, and the groups of readers; or one of these groups. */
export function StreamsPage ({ place: { id: group }, session: { nodeId } }: PageProps) {
  return group === '' ? <Streams /> : <GroupPage key={group} group={group} nodeId={nodeId} />
}

function Streams () {
  const lag = useAsked<{ followers: FollowerLag[] }>('/v1/lag', 3_000)
  const topics = useAsked<{ topics: Topic[] }>('/v1/topics', 10_000)
  return (
    <Page title='Streams' shell={[command('lag'), command('topics'), curl(ofApp('/v1/groups'))]}>
      <Trouble error={lag.error ?? topics.error} />
      <h2>Who is behind</h2>
      {lag.value && <Followers followers={lag.value.followers} />}
      {lag.value && <Groups followers={lag.value.followers} />}
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
