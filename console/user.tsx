import { useState } from 'preact/hooks'
import type { PlacedMark, Timeline } from '../evidence/timeline.js'
import { path } from './api.js'
import { appCommand, ofApp } from './app.js'
import { Connections } from './connections.js'
import { linkTo, useAsked } from './hooks.js'
import { MarkDetails, MarkList } from './marks.js'
import { Page, Trouble } from './parts.js'
import type { PageProps } from './shell.js'
import { StateAt } from './state-at.js'
import { Picture } from './timeline-picture.js'
import { type Span, within } from './timeline-layout.js'
import { curl, timeOf } from './words.js'

/** A user: connections now, all that happened as a picture, and the state at any moment of it. */
export function UserPage ({ place: { id: user } }: PageProps) {
  const address = user === '' ? undefined : ofApp(path`/v1/users/${user}/timeline`)
  const { value, error, again } = useAsked<Timeline>(address)
  return (
    <Page title='User' shell={address === undefined ? [] : [appCommand('trace', user), appCommand('state', user), curl(address)]}>
      <FindUser page='user' user={user} />
      <Trouble error={error} />
      {value && !value.isKnown && <p role='status'>No entry of the ledger is of a user {user}.</p>}
      {value?.isKnown && (
        <>
          <Connections user={user} changed={again} />
          <History key={user} user={user} timeline={value} again={again} />
        </>
      )}
    </Page>
  )
}

/** The index of users is the ledger itself: there is no list of them, so a search is for the whole id. */
export function FindUser ({ page, user }: { readonly page: string, readonly user: string }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const wanted = String(new FormData(event.currentTarget as HTMLFormElement).get('user') ?? '').trim()
    location.hash = linkTo(page, wanted)
  }
  return (
    <form class='ask' role='search' onSubmit={submit}>
      <label>User id <input key={user} name='user' required defaultValue={user} /></label>
      <button type='submit'>Look</button>
    </form>
  )
}

function History ({ user, timeline, again }: {
  readonly user: string, readonly timeline: Timeline, readonly again: () => void
}) {
  const [selected, select] = useState<PlacedMark>()
  const [span, setSpan] = useState<Span>()
  const { marks, more, knownSince } = timeline
  return (
    <>
      <section aria-labelledby='timeline'>
        <h2 id='timeline'>Timeline</h2>
        {knownSince && (
          <p class='quiet'>Retention has deleted what was before {placeOf(knownSince)}.</p>
        )}
        {more > 0 && <p class='quiet'>{more} older marks are left out.</p>}
        <Picture timeline={timeline} selected={selected} select={select} shows={setSpan} />
        <Legend />
        {selected && <MarkDetails user={user} mark={selected} />}
        <button type='button' onClick={again}>Look again</button>
      </section>
      <StateAt user={user} marks={marks} position={selected?.position ?? ''} />
      <MarkList marks={span ? within(marks, span) : marks} select={select} />
    </>
  )
}

function placeOf ({ position, atMs }: NonNullable<Timeline['knownSince']>): string {
  return atMs === null ? position : timeOf(atMs)
}

function Legend () {
  return (
    <p class='quiet'>
      In each lane from top to bottom: uplinks (▲), the connection as a bar, downlinks as they are requested (◆), sent
      (▼ blue) and written (▼ grey), and how they ended: acked (green) or skipped, expired, dropped (✕).
    </p>
  )
}
