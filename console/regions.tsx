import type { NodeRow } from '../projections/nodes.js'
import { countOf } from './words.js'

/** All nodes by region, without a map of the world: each as a bar that is as full as the node is. */
export function Regions ({ nodes }: { readonly nodes: readonly NodeRow[] }) {
  const regions = new Map<string, NodeRow[]>()
  for (const node of nodes) regions.set(node.region, [...regions.get(node.region) ?? [], node])
  return (
    <section aria-labelledby='regions'>
      <h2 id='regions'>By region</h2>
      <div class='regions'>
        {[...regions].sort(([a], [b]) => a < b ? -1 : 1).map(([region, nodes]) => (
          <section key={region} class='region' aria-label={`Region ${region}`}>
            <h3>{region}</h3>
            <p class='quiet'>{countOf(sumOf(nodes), 'connection')} on {countOf(nodes.length, 'node')}</p>
            <ul>
              {nodes.map(node => <NodeBar key={node.nodeId} node={node} />)}
            </ul>
          </section>
        ))}
      </div>
    </section>
  )
}

function NodeBar ({ node: { nodeId, state, alive, roles, reported, connectionsMax } }: { readonly node: NodeRow }) {
  const shown = state === 'up' && !alive ? 'silent' : state
  const isEdge = roles.split(',').includes('edge')
  const busy = reported.admissionLevel > 0 ? ', overloaded' : ''
  return (
    <li class={`node ${shown}${busy === '' ? '' : ' busy'}`}>
      <span><strong>{nodeId}</strong> {shown}{busy}</span>
      {isEdge
        ? (
          <meter
            min={0} max={Math.max(1, connectionsMax)} value={reported.connections} high={0.9 * connectionsMax}
            aria-label={`Connections of ${nodeId}: ${reported.connections} of ${connectionsMax}`}
          />
          )
        : <span class='quiet'>{roles.replaceAll(',', ', ')}</span>}
    </li>
  )
}

function sumOf (nodes: readonly NodeRow[]): number {
  return nodes.reduce((sum, { alive, reported }) => sum + (alive ? reported.connections : 0), 0)
}
