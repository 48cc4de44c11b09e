import type { ConnectionRow } from '../evidence/history/row.js'
import { appCommand, ofApp } from './app.js'
import { AskEndings, Common, Endings, shownMax } from './endings.js'
import { linkTo } from './hooks.js'
import { Page, Table } from './parts.js'
import type { PageProps } from './shell.js'
import { curl, numberOf, timeOf, whileOf } from './words.js'

const codes = [
  'slow-consumer', 'heartbeat-timeout', 'connection-lost', 'kicked', 'superseded', 'rate-limited', 'bad-frame', 'protocol',
  'token-expired', 'node-lost', 'migrating', 'disconnected', 'internal',
]

/** Connections that ended lately: who they were, what they have in common. */
export function EndsPage ({ place: { query } }: PageProps) {
  const code = query.get('code') ?? ''
  const since = query.get('since') ?? '10m'
  const address = `/v1/connections?${new URLSearchParams({ since, ...code === '' ? {} : { code } }).toString()}`
  const words = ['history', ...code === '' ? [] : ['--code', code], '--since', since]
  return (
    <Page title='Ended connections' shell={[appCommand(...words), curl(ofApp(address))]}>
      <AskEndings page='ends' code={code} codes={codes} since={since} />
      <Endings<ConnectionRow> address={address} what={['connection that ended', 'connections that ended']}>
        {rows => (
          <>
            <Common
              of={rows} properties={[
                ['code', ({ code }) => code],
                ['how long they lasted, about', row => lastedAbout(row)],
                ['user', ({ userId }) => userId],
                ['device', ({ deviceId }) => deviceId],
                ['client', ({ client, platform }) => `${client || 'unnamed'} (${platform || 'unknown'})`],
                ['transport', ({ transport }) => transport],
                ['address', ({ address }) => hostOf(address)],
                ['node', ({ nodeId }) => nodeId],
              ]}
            />
            <Rows rows={rows.toSorted((a, b) => b.closedAtMs - a.closedAtMs).slice(0, shownMax)} />
          </>
        )}
      </Endings>
    </Page>
  )
}

function Rows ({ rows }: { readonly rows: readonly ConnectionRow[] }) {
  const heads = ['Ended', 'Code', 'User', 'Device', 'Connection', 'Node', 'Lasted', 'Client', 'From', 'Written, acked', 'Says']
  return (
    <>
      <h2>The newest {rows.length}</h2>
      <Table label='Ended connections' heads={heads}>
        {rows.map(row => {
          const { userId, deviceId, connectionId, nodeId, client, transport, address, code, reason, by } = row
          return (
            <tr key={connectionId}>
              <td class='time'>{timeOf(row.closedAtMs)}</td>
              <td>{code}</td>
              <td><a href={linkTo('user', userId)}>{userId}</a></td>
              <td>{deviceId} ({row.platform})</td>
              <td><a href={linkTo('message', '', { user: userId, kind: 'connection', id: connectionId })}>{connectionId}</a></td>
              <td>{nodeId}</td>
              <td class='number'>{whileOf(row.closedAtMs - row.openedAtMs)}</td>
              <td>{client} over {transport}</td>
              <td>{address}</td>
              <td class='number'>{numberOf(row.downlinksWritten)}, {numberOf(row.downlinksAcked)}</td>
              <td>{reason}{by === '' ? '' : `, as key ${by} asked`}</td>
            </tr>
          )
        })}
      </Table>
    </>
  )
}

/** To one digit, as people compare times. */
function lastedAbout ({ openedAtMs, closedAtMs }: ConnectionRow): string {
  const ms = Math.max(1, closedAtMs - openedAtMs)
  const digit = 10 ** Math.floor(Math.log10(ms))
  return whileOf(Math.round(ms / digit) * digit)
}

function hostOf (address: string): string { return address.replace(/:\d+$/, '') }
