import { useEffect, useState } from 'preact/hooks'
import { type Change, changesBetween } from '../evidence/state-changes.js'
import type { SessionView, StateView } from '../evidence/state.js'
import type { PlacedMark } from '../evidence/timeline.js'
import { path } from './api.js'
import { appCommand, ofApp } from './app.js'
import { useAsked } from './hooks.js'
import { CommandLine, Table, Trouble } from './parts.js'
import { positionsOf } from './timeline-layout.js'
import { countOf, timeOf } from './words.js'

/** A slider is moved over many places; only where it rests is asked about. */
const restMs = 200

interface StateAtProps {
  readonly user: string
  readonly marks: readonly PlacedMark[]
  /** Where the slider is put when it changes. */
  readonly position: string
}

/** What the gateway knew of the user at any entry, and what that entry changed. */
export function StateAt ({ user, marks, position }: StateAtProps) {
  const places = positionsOf(marks)
  const [at, setAt] = useState(places.length - 1)
  const [resting, setResting] = useState(at)
  useEffect(() => {
    const chosen = places.findIndex(place => place.position === position)
    if (chosen >= 0) setAt(chosen)
  }, [position])
  useEffect(() => {
    const timer = setTimeout(() => { setResting(at) }, restMs)
    return () => { clearTimeout(timer) }
  }, [at])
  const of = (i: number) => {
    const place = places[i]
    return place && ofApp(`${path`/v1/users/${user}/state`}?at=${place.position}`)
  }
  const { value, error } = useAsked<StateView>(of(resting))
  const { value: before } = useAsked<StateView>(of(resting - 1))
  const place = places[at]
  if (!place) return null
  return (
    <section aria-labelledby='state'>
      <h2 id='state'>State at any moment</h2>
      <label class='slider'>
        Entry {place.position}, {timeOf(place.atMs)}
        <input
          type='range' min={0} max={places.length - 1} value={at} aria-valuetext={`entry ${place.position}`}
          onInput={event => { setAt(Number(event.currentTarget.value)) }}
        />
      </label>
      <Trouble error={error} />
      {value && before && <Changes changes={changesBetween(before, value)} />}
      {value && <State state={value} />}
      <CommandLine text={appCommand('state', user, '--at', place.position)} />
      {places[at - 1] && <CommandLine text={appCommand('state', user, '--diff', places[at - 1]!.position, place.position)} />}
    </section>
  )
}

function Changes ({ changes }: { readonly changes: readonly Change[] }) {
  return (
    <>
      <h3>What this entry changed</h3>
      {changes.length === 0 && <p class='quiet'>Nothing in the state.</p>}
      <ul class='changes'>
        {changes.map(({ type, path, before, after }) => (
          <li key={path.join('/')} class={type}>
            <code>{path.join(' › ')}</code>{' '}
            {type === 'changed' ? `${JSON.stringify(before)} → ${JSON.stringify(after)}` : type}
          </li>
        ))}
      </ul>
    </>
  )
}

function State ({ state: { userSeq, sessions, connections, waiting } }: { readonly state: StateView }) {
  return (
    <>
      <p>
        {countOf(userSeq, 'uplink')} accepted so far; {countOf(connections.length, 'connection')} open; for a first session
        {countOf(waiting.length, 'downlink waits', 'downlinks wait')}.
      </p>
      <Table
        label='Sessions'
        heads={['Device', 'Session', 'Connection', 'Uplinks up to', 'Next downlink', 'Acked up to', 'In the outbox', 'Missed']}
      >
        {sessions.map(session => <SessionLine key={session.deviceId} session={session} />)}
      </Table>
    </>
  )
}

function SessionLine ({ session }: { readonly session: SessionView }) {
  const { deviceId, platform, sessionId, connectionId, nodeId, uplinkSeq, nextSeq, ackedSeq, outbox, missed } = session
  return (
    <tr>
      <td>{deviceId} ({platform})</td>
      <td>{sessionId}</td>
      <td>{connectionId === '' ? 'offline' : `${connectionId} on ${nodeId}`}</td>
      <td class='number'>{uplinkSeq}</td>
      <td class='number'>{nextSeq}</td>
      <td class='number'>{ackedSeq}</td>
      <td>{outbox.length === 0 ? 'nothing' : outbox.map(({ messageId, seq }) => `${messageId} #${seq}`).join(', ')}</td>
      <td class='number'>{missed}</td>
    </tr>
  )
}
