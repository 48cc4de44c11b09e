import { useState } from 'preact/hooks'
import { ask, path } from './api.js'
import { ofApp } from './app.js'
import { useAsked } from './hooks.js'
import { Action, Page, Table, Trouble } from './parts.js'
import type { PageProps } from './shell.js'
import { FindUser } from './user.js'
import { countOf, curl, quoted, timeOf } from './words.js'

interface Ban {
  readonly banId: string
  /** Null for any. */
  readonly deviceId: string | null
  readonly tokenId: string | null
  /** Null until it is lifted. */
  readonly untilMs: number | null
  readonly reason: string
  readonly bannedAtMs: number
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

const hourMs = 3_600_000

/** Who is kept out, one user at a time; and a way to keep one out, or let one in again. */
export function BansPage ({ place: { id: user } }: PageProps) {
  const address = user === '' ? undefined : ofApp(path`/v1/users/${user}/bans`)
  const { value, error, again } = useAsked<{ bans: Ban[] }>(address)
  return (
    <Page title='Bans' shell={address === undefined ? [] : [curl(address)]}>
      <FindUser page='bans' user={user} />
      <Trouble error={error} />
      {value && (
        <>
          {value.bans.length === 0 && <p role='status'>No ban of {user} is in force.</p>}
          {value.bans.length > 0 && (
            <Table label='Bans' heads={['Ban', 'Of', 'Since', 'Until', 'Reason', 'By', '']}>
              {value.bans.map(ban => <BanLine key={ban.banId} user={user} ban={ban} changed={again} />)}
            </Table>
          )}
          <NewBan key={user} user={user} changed={again} />
        </>
      )}
    </Page>
  )
}

function BanLine ({ user, ban: { banId, deviceId, tokenId, untilMs, reason, bannedAtMs, by }, changed }: {
  readonly user: string, readonly ban: Ban, readonly changed: () => void
}) {
  const query = new URLSearchParams({ userId: user, reason: 'from the console' })
  const address = ofApp(`${path`/v1/bans/${banId}`}?${query.toString()}`)
  const whose = deviceId !== null ? `device ${deviceId}` : tokenId !== null ? `token ${tokenId}` : 'the user'
  return (
    <tr>
      <th scope='row'>{banId}</th>
      <td>{whose}</td>
      <td class='time'>{timeOf(bannedAtMs)}</td>
      <td class='time'>{untilMs === null ? 'it is lifted' : timeOf(untilMs)}</td>
      <td>{reason}</td>
      <td>{by === '' ? 'a key without an id' : by}</td>
      <td>
        <Action
          label='Lift' meaning={`${user} may connect again.`} command={curl(address, 'DELETE')}
          run={async () => {
            await ask('DELETE', address)
            changed()
            return 'It is lifted.'
          }}
        />
      </td>
    </tr>
  )
}

function NewBan ({ user, changed }: { readonly user: string, readonly changed: () => void }) {
  const [hours, setHours] = useState(24)
  const [reason, setReason] = useState('')
  const body = { userId: user, ttlMs: hours * hourMs, ...reason === '' ? {} : { reason } }
  return (
    <section aria-labelledby='new-ban'>
      <h2 id='new-ban'>Keep {user} out</h2>
      <div class='ask'>
        <label>
          Hours{' '}
          <input type='number' min={1} max={87_600} value={hours} onInput={event => { setHours(Math.max(1, event.currentTarget.valueAsNumber || 1)) }} />
        </label>{' '}
        <label>
          What the client is told{' '}
          <input maxLength={200} value={reason} onInput={event => { setReason(event.currentTarget.value) }} />
        </label>
      </div>
      <Action
        label='Ban' isGrave meaning={`All connections of ${user} are closed, and no device gets in for ${countOf(hours, 'hour')}.`}
        command={`${curl(ofApp('/v1/bans'))} -H 'content-type: application/json' -d ${quoted(JSON.stringify(body))}`}
        run={async () => {
          await ask('POST', ofApp('/v1/bans'), body)
          changed()
          return 'The ban is in force.'
        }}
      />
    </section>
  )
}
