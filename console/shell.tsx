import type { FunctionComponent } from 'preact'
import { useEffect } from 'preact/hooks'
import { ask, type Session } from './api.js'
import { AuditPage } from './audit.js'
import { BansPage } from './bans.js'
import { EndsPage } from './ends.js'
import { linkTo, type Place, usePlace } from './hooks.js'
import { KeysPage } from './keys.js'
import { MessagePage } from './message.js'
import { NodesPage } from './nodes.js'
import { OverviewPage } from './overview.js'
import { ReceiptsPage } from './receipts.js'
import { RoomsPage } from './rooms.js'
import { StreamsPage } from './streams.js'
import { UserPage } from './user.js'

export interface PageProps {
  readonly session: Session
  readonly place: Place
}

/** The pages, by their first word in the address bar. */
const pages: ReadonlyArray<readonly [name: string, title: string, page: FunctionComponent<PageProps>]> = [
  ['', 'Overview', OverviewPage],
  ['message', 'Message', MessagePage],
  ['user', 'User', UserPage],
  ['nodes', 'Nodes', NodesPage],
  ['rooms', 'Rooms', RoomsPage],
  ['ends', 'Ends', EndsPage],
  ['receipts', 'Receipts', ReceiptsPage],
  ['streams', 'Streams', StreamsPage],
  ['audit', 'Audit', AuditPage],
  ['bans', 'Bans', BansPage],
  ['keys', 'Keys', KeysPage],
]

/** The frame around each page: where one is, who one is, and the way out. */
export function Shell ({ session, signedOut }: { readonly session: Session, readonly signedOut: () => void }) {
  const place = usePlace()
  const [, title, Page] = pages.find(([name]) => name === place.page) ?? pages[0]!
  useEffect(() => { document.title = `${title} · Ledgerline` }, [title])
  const signOut = () => { ask('DELETE', '/console/session').then(signedOut, signedOut) }
  const { key, nodeId, version } = session
  return (
    <>
      <a class='skip' href='#page' onClick={event => { event.preventDefault(); document.getElementById('page')?.focus() }}>
        To the page
      </a>
      <header>
        <span class='brand'>Ledgerline</span>
        <nav aria-label='Pages'>
          {pages.map(([name, text]) => (
            <a key={name} href={linkTo(name)} {...name === place.page ? { 'aria-current': 'page' } : {}}>{text}</a>
          ))}
        </nav>
        <span class='who'>
          <AppField session={session} app={place.query.get('app') ?? ''} />
          node {nodeId}, {version}; {keyOf(key)}{' '}
          <button type='button' onClick={signOut}>Sign out</button>
        </span>
      </header>
      <Page session={session} place={place} />
    </>
  )
}

function keyOf ({ id, name, from }: Session['key']): string {
  if (from === 'file') return `key ${name || id}`
  return from === 'environment' ? 'key of LEDGERLINE_API_KEYS' : 'key of the file api-key in the data directory'
}

/** Whose users the pages show. Only keys of no app with the scope `admin` may choose. */
function AppField ({ session, app }: { readonly session: Session, readonly app: string }) {
  if (!session.key.scopes.includes('admin')) return null
  const choose = (event: Event) => {
    const wanted = (event.currentTarget as HTMLInputElement).value.trim()
    const [way = '', query = ''] = location.hash.split('?', 2)
    const parameters = new URLSearchParams(query)
    parameters.delete('app')
    if (wanted !== '') parameters.set('app', wanted)
    location.hash = `${way}?${parameters.toString()}`
  }
  return <label class='app'>App <input key={app} size={8} placeholder='default' defaultValue={app} onChange={choose} /></label>
}
