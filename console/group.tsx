import type { GroupAnswer } from '../gateway/http/groups.js'
import { ask, path } from './api.js'
import { ofApp } from './app.js'
import { Followers } from './followers.js'
import { linkTo, useAsked } from './hooks.js'
import { Action, Page, Table, Trouble } from './parts.js'
import { bytesOf, curl, timeOf } from './words.js'

/** One group of readers: how far it is, which nodes read for it, and its readers on the node that is asked. */
export function GroupPage ({ group, nodeId }: { readonly group: string, readonly nodeId: string }) {
  const address = ofApp(path`/v1/groups/${group}`)
  const { value, error, again } = useAsked<GroupAnswer>(address, 3_000)
  return (
    <Page title={`Group ${group}`} shell={[curl(address)]}>
      <p><a href={linkTo('streams')}>All streams and groups</a></p>
      <Trouble error={error} />
      {value && (
        <>
          <h2>How far it is behind</h2>
          <Followers followers={value.streams} />
          <NodesOf nodes={value.nodes} />
          <ReadersOf readers={value.readers} nodeId={nodeId} />
          <Action
            label='Forget how far it is' isGrave
            meaning={`Group ${group} loses its place in every stream: whoever reads in it next begins anew. ` +
              'A group that has readers is not forgotten.'}
            command={curl(address, 'DELETE')}
            run={async () => {
              await ask('DELETE', address)
              again()
              return 'It is forgotten.'
            }}
          />
        </>
      )}
    </Page>
  )
}

function NodesOf ({ nodes }: Pick<GroupAnswer, 'nodes'>) {
  return (
    <>
      <h2>Nodes that read for it</h2>
      {nodes.length === 0 && <p>None: the group has no readers now.</p>}
      {nodes.length > 0 && (
        <Table label='Nodes of the group' heads={['Node', 'Stream', 'Partitions']}>
          {nodes.map(({ nodeId, stream, partitions }) => (
            <tr key={`${nodeId} ${stream}`}>
              <th scope='row'>{nodeId}</th>
              <td>{stream}</td>
              <td>{partitions.join(', ')}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}

function ReadersOf ({ readers, nodeId }: Pick<GroupAnswer, 'readers'> & { readonly nodeId: string }) {
  return (
    <>
      <h2>Readers on node {nodeId}</h2>
      {readers.length === 0 && <p>None on this node. The console of each other node shows those of its own.</p>}
      {readers.length > 0 && (
        <Table label='Readers of the group' heads={['Reader', 'Stream', 'Since', 'Partitions', 'Not acked']}>
          {readers.map(({ readerId, stream, sinceMs, partitions, unackedBytes }) => (
            <tr key={readerId}>
              <th scope='row'>{readerId}</th>
              <td>{stream}</td>
              <td class='time'>{timeOf(sinceMs)}</td>
              <td>{partitions.join(', ')}</td>
              <td class='number'>{bytesOf(unackedBytes)}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}
