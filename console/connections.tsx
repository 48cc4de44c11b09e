import type { Presence } from '../projections/presence.js'
import { ask, path } from './api.js'
import { ofApp } from './app.js'
import { linkTo, useAsked } from './hooks.js'
import { Action, Table, Trouble } from './parts.js'
import { curl, timeOf } from './words.js'

/** The connections that a user has now, and a way to end one. */
export function Connections ({ user, changed }: { readonly user: string, readonly changed: () => void }) {
  const { value, error, again } = useAsked<Presence>(ofApp(path`/v1/users/${user}/presence`), 5_000)
  const kick = async (connectionId: string) => {
    await ask('DELETE', kickPath(user, connectionId))
    again()
    changed()
    return 'It is told to end.'
  }
  return (
    <section aria-labelledby='connections'>
      <h2 id='connections'>Connections now</h2>
      <Trouble error={error} />
      {value && !value.online && (
        <p>Offline{value.lastSeenAtMs === null ? '' : `, seen last at ${timeOf(value.lastSeenAtMs)}`}.</p>
      )}
      {value?.online && (
        <Table label='Connections' heads={['Device', 'Connection', 'Node', 'Client', 'From', 'Since', '']}>
          {value.sessions.map(session => (
            <Line key={session.connectionId} user={user} session={session} kick={kick} />
          ))}
        </Table>
      )}
    </section>
  )
}

function Line ({ user, session, kick }: {
  readonly user: string, readonly session: Presence['sessions'][number], readonly kick: (id: string) => Promise<string>
}) {
  const { connectionId, deviceId, platform, nodeId, client, transport, address, openedAtMs } = session
  return (
    <tr>
      <td>{deviceId} ({platform})</td>
      <td><a href={linkTo('message', '', { user, kind: 'connection', id: connectionId })}>{connectionId}</a></td>
      <td>{nodeId}</td>
      <td>{client} over {transport}</td>
      <td>{address}</td>
      <td class='time'>{timeOf(openedAtMs)}</td>
      <td>
        <Action
          label='Kick' isGrave
          meaning={`Connection ${connectionId} is closed for good: its client stays away.`}
          command={curl(kickPath(user, connectionId), 'DELETE')}
          run={async () => await kick(connectionId)}
        />
      </td>
    </tr>
  )
}

function kickPath (user: string, connectionId: string): string {
  const query = new URLSearchParams({ userId: user, reason: 'from the console' })
  return ofApp(`${path`/v1/connections/${connectionId}`}?${query.toString()}`)
}
