import { ofApp } from './app.js'
import { AskEndings, Common, Endings, shownMax } from './endings.js'
import { linkTo } from './hooks.js'
import { Page, Table } from './parts.js'
import type { PageProps } from './shell.js'
import { curl, timeOf, whileOf } from './words.js'

/** A line of the stream `receipts`. */
interface Receipt {
  readonly userId: string
  readonly deviceId: string
  readonly messageId: string
  readonly service: string
  readonly seq: number
  readonly outcome: string
  readonly reason: string
  readonly requestedAtMs: number
  readonly settledAtMs: number
}

const codes = ['outbox-full', 'skipped', 'ttl', 'waiting-full', 'sessions-full', 'no-target', 'session-ended', 'acked']

/** Downlinks that ended lately: on which devices, and what they have in common. */
export function ReceiptsPage ({ place: { query } }: PageProps) {
  const code = query.get('code') ?? ''
  const since = query.get('since') ?? '10m'
  const address = `/v1/streams/receipts?${new URLSearchParams({ since, ...code === '' ? {} : { code } }).toString()}`
  return (
    <Page title='Ended downlinks' shell={[curl(ofApp(address))]}>
      <AskEndings page='receipts' code={code} codes={codes} since={since} />
      <Endings<Receipt> address={address} what={['downlink that ended on a device', 'downlinks that ended on a device']}>
        {receipts => (
          <>
            <Common
              of={receipts} properties={[
                ['how', ({ outcome, reason }) => reason || outcome],
                ['user', ({ userId }) => userId],
                ['device', ({ deviceId }) => deviceId || 'none'],
                ['service', ({ service }) => service || 'unnamed'],
                ['message', ({ messageId }) => messageId],
              ]}
            />
            <Rows receipts={receipts.toSorted((a, b) => b.settledAtMs - a.settledAtMs).slice(0, shownMax)} />
          </>
        )}
      </Endings>
    </Page>
  )
}

function Rows ({ receipts }: { readonly receipts: readonly Receipt[] }) {
  return (
    <>
      <h2>The newest {receipts.length}</h2>
      <Table label='Ended downlinks' heads={['Ended', 'How', 'User', 'Device', 'Message', 'Seq', 'Service', 'After']}>
        {receipts.map(({ userId, deviceId, messageId, service, seq, outcome, reason, ...times }, i) => (
          <tr key={`${userId} ${messageId} ${deviceId} ${i}`}>
            <td class='time'>{timeOf(times.settledAtMs)}</td>
            <td>{outcome}{reason === '' || reason === outcome ? '' : `, ${reason}`}</td>
            <td><a href={linkTo('user', userId)}>{userId}</a></td>
            <td>{deviceId}</td>
            <td>
              <a href={linkTo('message', '', { user: userId, kind: 'message', id: messageId })}>{messageId}</a>
            </td>
            <td class='number'>{seq === 0 ? '' : seq}</td>
            <td>{service}</td>
            <td class='number'>{whileOf(times.settledAtMs - times.requestedAtMs)}</td>
          </tr>
        ))}
      </Table>
    </>
  )
}
