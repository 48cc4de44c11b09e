import { useState } from 'preact/hooks'
import type { NodesAnswer } from '../gateway/http/nodes.js'
import type { NodeRow } from '../projections/nodes.js'
import { ask, path } from './api.js'
import { Drain } from './drain.js'
import { useAsked } from './hooks.js'
import { Action, Page, Table, Trouble } from './parts.js'
import { Regions } from './regions.js'
import { bytesOf, command, curl, numberOf, whileOf } from './words.js'

const withinMs = 60_000

/** All nodes with what they report, and a way to have the clients of one go elsewhere. */
export function NodesPage () {
  const { value, error, again } = useAsked<NodesAnswer>('/v1/nodes', 2_000)
  const [watched, watch] = useState('')
  const heads = ['Node', 'Region', 'State', 'Roles', 'Version', 'Connections', 'CPU', 'Loop p99', 'Ack p99', 'Memory', 'Reported', 'Drain']
  return (
    <Page title='Nodes' shell={[curl('/v1/nodes')]}>
      <Trouble error={error} />
      {value && (
        <Table label='Nodes' heads={heads}>
          {value.nodes.map(node => (
            <NodeLine
              key={node.nodeId} node={node} nowMs={value.asOf.atMs} watch={watch}
              changed={() => { watch(node.nodeId); again() }}
            />
          ))}
        </Table>
      )}
      {watched !== '' && <Drain nodeId={watched} />}
      {value && <Regions nodes={value.nodes.filter(({ state }) => state !== 'stopped')} />}
    </Page>
  )
}

/** When its last report was heard, by the clock of whoever tells it; of one that has ended, as it dated that itself. */
function heardAtMs ({ aliveUntilMs, leaseMs, reportedAtMs }: NodeRow): number {
  return aliveUntilMs === 0 ? reportedAtMs : aliveUntilMs - leaseMs
}

function NodeLine ({ node, nowMs, changed, watch }: {
  readonly node: NodeRow, readonly nowMs: number, readonly changed: () => void, readonly watch: (nodeId: string) => void
}) {
  const { nodeId, region, state, alive, percent, roles, version, reported, connectionsMax } = node
  const wasDrained = state === 'draining' || node.drainRequest !== undefined
  const isUp = alive && state === 'up' && roles.split(',').includes('edge')
  return (
    <tr class={alive ? '' : 'away'}>
      <th scope='row'>{nodeId}</th>
      <td>{region}</td>
      <td>{state === 'up' && !alive ? 'silent' : state}{percent === undefined ? '' : `, ${percent} %`}</td>
      <td>{roles.replaceAll(',', ', ')}</td>
      <td>{version}</td>
      <td class='number'>{numberOf(reported.connections)} of {numberOf(connectionsMax)}</td>
      <td class='number'>{numberOf(reported.cpuCores)}</td>
      <td class='number'>{numberOf(reported.loopDelayP99Ms)} ms</td>
      <td class='number'>{numberOf(reported.ackP99Ms)} ms</td>
      <td class='number'>{bytesOf(reported.rssBytes)}</td>
      <td>{whileOf(Math.max(0, nowMs - heardAtMs(node)))} ago</td>
      <td>
        {isUp && (
          <Action
            label='Drain' isGrave command={command('drain', nodeId, '--within', '60s')}
            meaning={`All clients of ${nodeId} are asked to go to other nodes within a minute; those that stay are ` +
              'closed. The node takes no new ones.'}
            run={async () => await drain(nodeId, 100, changed)}
          />
        )}
        {state === 'draining' && (
          <Action
            label='End the drain' command={command('drain', nodeId, '--cancel')}
            meaning={`${nodeId} takes clients again. Those that left stay where they are.`}
            run={async () => await drain(nodeId, 0, changed)}
          />
        )}
        {wasDrained && <button type='button' onClick={() => { watch(nodeId) }}>Its drain</button>}
      </td>
    </tr>
  )
}

async function drain (nodeId: string, percent: number, changed: () => void): Promise<string> {
  await ask('POST', path`/v1/nodes/${nodeId}/drain`, { percent, withinMs, reason: 'from the console' })
  changed()
  return percent === 0 ? 'The drain is ended.' : 'The node is told.'
}
