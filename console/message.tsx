import type { Timeline } from '../evidence/timeline.js'
import type { Trace } from '../evidence/trace.js'
import { adviceFor } from './advice.js'
import { ask, path } from './api.js'
import { appCommand, ofApp } from './app.js'
import { linkTo, useAsked } from './hooks.js'
import { Action, Page, Trouble } from './parts.js'
import type { PageProps } from './shell.js'
import { Steps } from './steps.js'

/** What is asked for: a downlink by its id, an uplink by session and seq, or a connection. */
interface Asked {
  readonly user: string
  readonly kind: 'message' | 'uplink' | 'connection'
  readonly id: string
}

/** What became of one message: every step, the verdict, and what to do. */
export function MessagePage ({ place: { query } }: PageProps) {
  const asked: Asked = {
    user: query.get('user') ?? '',
    kind: (query.get('kind') ?? 'message') as Asked['kind'],
    id: query.get('id') ?? '',
  }
  const isAsked = asked.user !== '' && asked.id !== ''
  const traced = () => ofApp(`${path`/v1/users/${asked.user}/trace`}?${parametersOf(asked).toString()}`)
  const address = isAsked ? traced() : undefined
  const { value, error, again } = useAsked<Trace>(address)
  return (
    <Page title='Message' shell={isAsked ? [commandOf(asked)] : []}>
      <Question key={JSON.stringify(asked)} asked={asked} />
      <Trouble error={error} />
      {value && <Answer trace={value} asked={asked} again={again} />}
    </Page>
  )
}

function Question ({ asked }: { readonly asked: Asked }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const [user, kind, id] = ['user', 'kind', 'id'].map(name => String(form.get(name) ?? '').trim())
    location.hash = linkTo('message', '', { user: user!, kind: kind!, id: id! })
  }
  return (
    <form class='ask' onSubmit={submit}>
      <label>User <input name='user' required defaultValue={asked.user} /></label>
      <label>
        What
        <select name='kind' defaultValue={asked.kind}>
          <option value='message' selected={asked.kind === 'message'}>a downlink, by its message id</option>
          <option value='uplink' selected={asked.kind === 'uplink'}>an uplink, by SESSION:SEQ</option>
          <option value='connection' selected={asked.kind === 'connection'}>a connection, by its id</option>
        </select>
      </label>
      <label>Id <input name='id' required defaultValue={asked.id} size={30} /></label>
      <button type='submit'>What became of it?</button>
    </form>
  )
}

function Answer ({ trace: { steps, verdict }, asked, again }: {
  readonly trace: Trace, readonly asked: Asked, readonly again: () => void
}) {
  const advice = adviceFor(verdict)
  return (
    <>
      <section class={`verdict ${advice.tone}`} aria-labelledby='verdict'>
        <h2 id='verdict'>{verdict.code}{verdict.cause === '' ? '' : `, ${verdict.cause}`}</h2>
        <p>{verdict.text}</p>
        <p><em>What to do:</em> {advice.text}</p>
        {asked.kind === 'message' && <Redeliver asked={asked} isAdvised={advice.redeliver} again={again} />}
      </section>
      <section aria-labelledby='steps'>
        <h2 id='steps'>Step by step</h2>
        {steps.length === 0 ? <p class='quiet'>None that the ledger has.</p> : <Steps steps={steps} />}
        <p><a href={linkTo('user', asked.user)}>All that happened to {asked.user}</a></p>
      </section>
    </>
  )
}

/** A way to send it once more to each device that it had a number on. */
function Redeliver ({ asked, isAdvised, again }: {
  readonly asked: Asked, readonly isAdvised: boolean, readonly again: () => void
}) {
  const { value } = useAsked<Timeline>(ofApp(`${path`/v1/users/${asked.user}/timeline`}?limit=5000`))
  const seqs = new Map(value?.marks.filter(({ messageId, deviceId, seq }) =>
    messageId === asked.id && deviceId !== '' && seq > 0).map(({ deviceId, seq }) => [deviceId, seq]))
  return (
    <div>
      {[...seqs].map(([deviceId, seq]) => (
        <Action
          key={deviceId} label={`Send again to ${deviceId}`}
          meaning={`Device ${deviceId} gets the downlink once more, under a new seq and with the same message id.` +
            (isAdvised ? '' : ' The application may get twice what it has already handled.')}
          command={appCommand('redeliver', asked.user, '--device', deviceId, '--from', String(seq), '--to', String(seq))}
          run={async () => {
            const body = { deviceId, fromSeq: seq, toSeq: seq, reason: 'from the console' }
            const { redelivered } = await ask<{ redelivered: unknown[] }>(
              'POST', ofApp(path`/v1/users/${asked.user}/redeliveries`), body)
            again()
            return redelivered.length === 0 ? 'The ledger no longer has it.' : 'It is on its way.'
          }}
        />
      ))}
    </div>
  )
}

function parametersOf ({ kind, id }: Asked): URLSearchParams {
  if (kind === 'connection') return new URLSearchParams({ connectionId: id })
  if (kind === 'message') return new URLSearchParams({ messageId: id })
  const at = id.lastIndexOf(':')
  return new URLSearchParams({ sessionId: id.slice(0, Math.max(0, at)), seq: id.slice(at + 1) })
}

function commandOf ({ user, kind, id }: Asked): string { return appCommand('trace', user, `--${kind}`, id) }
