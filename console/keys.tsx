import { useState } from 'preact/hooks'
import type { ListedKey } from '../gateway/keys/stored-keys.js'
import { type Scope, scopes } from '../gateway/keys/scopes.js'
import { ask, gatewayNowMs, path } from './api.js'
import { appCommand, ofApp } from './app.js'
import { useAsked } from './hooks.js'
import { Action, CommandLine, Page, Table, Trouble } from './parts.js'
import type { PageProps } from './shell.js'
import { curl, quoted, timeOf } from './words.js'

const dayMs = 86_400_000

const meanings: Readonly<Record<Scope, string>> = {
  push: 'send to users and rooms',
  read: 'read streams, presence, load, traces',
  operate: 'drain, kick, ban, send again; sign in here',
  admin: 'keys, backups, rebuilds, users of every app',
}

/** The API keys of the file that this node reads: who may do what, a new one, and an end for one. */
export function KeysPage ({ session }: PageProps) {
  const { value, error, again } = useAsked<{ keys: ListedKey[] }>(ofApp('/v1/keys'))
  return (
    <Page title='API keys' shell={[appCommand('keys', 'list'), curl(ofApp('/v1/keys'))]}>
      <Trouble error={error} />
      {error?.code === 'forbidden' && <p>Sign in with a key that has the scope <code>admin</code>.</p>}
      {value && (
        <>
          {value.keys.length === 0 && <p role='status'>The file has no keys yet.</p>}
          {value.keys.length > 0 && (
            <Table label='API keys' heads={['Key', 'Name', 'Scopes', 'State', 'Made', 'Until', 'Requests a second', '']}>
              {value.keys.map(key => (
                <KeyLine key={key.id} listed={key} isOwn={key.id === session.key.id} changed={again} />
              ))}
            </Table>
          )}
          <NewKey mayGive={session.key.scopes} changed={again} />
        </>
      )}
    </Page>
  )
}

function KeyLine ({ listed, isOwn, changed }: {
  readonly listed: ListedKey, readonly isOwn: boolean, readonly changed: () => void
}) {
  const { id, name, scopes, state, createdAt, expiresAt, revokedAt, requestsPerSecond } = listed
  const until = revokedAt ?? expiresAt
  return (
    <tr class={state === 'good' ? '' : 'away'}>
      <th scope='row'>{id}</th>
      <td>{name}{isOwn ? ' (yours)' : ''}</td>
      <td>{scopes.join(', ')}</td>
      <td>{state}</td>
      <td class='time'>{timeOf(Date.parse(createdAt))}</td>
      <td class='time'>{until === undefined ? 'it is revoked' : timeOf(Date.parse(until))}</td>
      <td class='number'>{requestsPerSecond ?? 'no bound'}</td>
      <td>
        {state !== 'revoked' && (
          <Action
            label='Revoke' isGrave command={appCommand('keys', 'revoke', id)}
            meaning={`Gateways that read this file refuse the key of ${name} within a second, for good. ` +
              (isOwn ? 'It is the one that you signed in with: you are signed out.' : '')}
            run={async () => {
              await ask('DELETE', ofApp(path`/v1/keys/${id}`))
              changed()
              return 'It is revoked.'
            }}
          />
        )}
      </td>
    </tr>
  )
}

function NewKey ({ mayGive, changed }: { readonly mayGive: readonly string[], readonly changed: () => void }) {
  const [name, setName] = useState('')
  const [given, setGiven] = useState<readonly Scope[]>(['push', 'read'])
  const [days, setDays] = useState(90)
  const [created, setCreated] = useState<ListedKey & { readonly key: string }>()
  const expires = days > 0 ? { expiresAt: new Date(gatewayNowMs() + days * dayMs).toISOString() } : {}
  const words = ['keys', 'create', '--name', name || 'NAME', '--scopes', given.join(','), ...days > 0 ? ['--expires', `${days}d`] : []]
  const toggle = (scope: Scope) => {
    setGiven(scopes.filter(each => given.includes(each) !== (each === scope)))
  }
  return (
    <section aria-labelledby='new-key'>
      <h2 id='new-key'>A new key</h2>
      <form class='ask' onSubmit={event => { event.preventDefault() }}>
        <label>Whose it is <input name='name' maxLength={128} value={name} onInput={event => { setName(event.currentTarget.value) }} /></label>
        <label>
          Days, 0 for ever
          <input
            name='days' type='number' min={0} max={3_650} value={days}
            onInput={event => { setDays(Math.max(0, event.currentTarget.valueAsNumber || 0)) }}
          />
        </label>
        <fieldset>
          <legend>What it is good for</legend>
          {scopes.map(scope => (
            <label key={scope} class='choice'>
              <input
                type='checkbox' name={scope} checked={given.includes(scope)} disabled={!mayGive.includes(scope)}
                onChange={() => { toggle(scope) }}
              />
              {' '}{scope}: {meanings[scope]}
            </label>
          ))}
        </fieldset>
      </form>
      <Action
        label='Make the key' command={appCommand(...words)}
        meaning={`A key named ${quoted(name)} is added to the file, good for ${given.join(', ')}. It is shown once.`}
        run={async () => {
          setCreated(await ask('POST', ofApp('/v1/keys'), { name, scopes: given, ...expires }))
          changed()
          return 'It is made.'
        }}
      />
      {created && (
        <div role='status'>
          <p>Key {created.id} of {created.name}. Keep it now: nobody can show it again.</p>
          <CommandLine text={created.key} />
        </div>
      )}
    </section>
  )
}
