import { useRef, useState } from 'preact/hooks'
import type { Books, Violation } from '../evidence/audit.js'
import { tablesOf } from '../evidence/audit/tables.js'
import type { AuditEvent } from '../gateway/audits.js'
import { type ApiError, followLines } from './api.js'
import { linkTo } from './hooks.js'
import { CommandLine, Page, Table, Trouble } from './parts.js'
import { command, countOf, curl, numberOf, quoted, whileOf } from './words.js'

/** Of the audit that was asked for on this page. */
interface Progress {
  readonly isOver: boolean
  readonly blocks: number
  readonly blocksTotal: number
  readonly violations: number
  readonly told: readonly Violation[]
  readonly books?: Books
  readonly seconds?: number
}

const nothingYet: Progress = { isOver: false, blocks: 0, blocksTotal: 0, violations: 0, told: [] }

/** Balances the books of this gateway while it goes on, and tells what is not as it must be. */
export function AuditPage () {
  const [since, setSince] = useState('')
  const [progress, setProgress] = useState<Progress>()
  const [error, setError] = useState<ApiError>()
  const leaving = useRef<AbortController>(undefined)
  const body = since === '' ? {} : { since }
  const begin = async () => {
    leaving.current = new AbortController()
    let now = nothingYet
    const take = (event: AuditEvent) => {
      if (event.type === 'failed') setError(event as unknown as ApiError)
      now = after(now, event)
      setProgress(now)
    }
    setError(undefined)
    setProgress(now)
    try {
      await followLines<AuditEvent>('POST', '/v1/audits', body, take, leaving.current.signal)
    } catch (err) {
      if (!leaving.current.signal.aborted) setError(err as ApiError)
    }
    setProgress({ ...now, isOver: true })
  }
  const isRunning = progress !== undefined && !progress.isOver
  const shell = [
    command('audit', ...since === '' ? [] : ['--since', since]),
    `${curl('/v1/audits')} -N -H 'content-type: application/json' -d ${quoted(JSON.stringify(body))}`,
  ]
  return (
    <Page title='Audit' shell={shell}>
      <p>
        It folds the ledger of this gateway anew, beside live traffic, which goes first. It takes the longer the more
        the ledger holds; <code>ledgerline audit</code> has a process of its own, and is faster. Whoever leaves this
        page gives it up.
      </p>
      <form class='ask' onSubmit={event => { event.preventDefault(); begin() }}>
        <label>
          What came within the last (such as 2h, 1d; empty: all)
          <input
            name='since' pattern='[0-9]+[smhd]' value={since}
            onInput={event => { setSince(event.currentTarget.value.trim()) }}
          />
        </label>
        {isRunning
          ? <button type='button' onClick={() => { leaving.current?.abort() }}>Give it up</button>
          : <button type='submit'>Start the audit</button>}
      </form>
      <Trouble error={error} />
      {progress && <Told progress={progress} />}
    </Page>
  )
}

function after (before: Progress, event: AuditEvent): Progress {
  switch (event.type) {
    case 'started': return { ...before, blocksTotal: event.blocks }
    case 'progress': {
      const { blocks, blocksTotal, violations } = event
      return { ...before, blocks, blocksTotal, violations }
    }
    case 'violation': {
      const told = [...before.told, event]
      return { ...before, told, violations: Math.max(before.violations, told.length) }
    }
    case 'done': return { ...before, isOver: true, books: event.books, seconds: event.seconds }
    case 'failed': return { ...before, isOver: true }
  }
}

function Told ({ progress }: { readonly progress: Progress }) {
  const { isOver, blocks, blocksTotal, violations, told, books, seconds = 0 } = progress
  const blocksMax = Math.max(1, blocksTotal)
  const total = books ? Object.values(books.violations).reduce((sum, count) => sum + count, 0) : violations
  return (
    <>
      <p role='status'>
        {books
          ? `${countOf(books.entries, 'entry', 'entries')} of ${countOf(books.users, 'user')} in ${whileOf(1_000 * seconds)}.`
          : isOver ? 'It did not come to its end.' : `${numberOf(blocks)} of ${countOf(blocksTotal, 'block')} read.`}
      </p>
      <progress max={blocksMax} value={books ? blocksMax : blocks} aria-label='Blocks that are read' />
      {(books !== undefined || total > 0) && (
        <section class={`verdict ${total === 0 ? 'good' : 'bad'}`} aria-labelledby='violations'>
          <h2 id='violations'>{total === 0 ? 'No violations' : countOf(total, 'violation')}</h2>
          {told.length > 0 && <Violations told={told} more={total - told.length} />}
        </section>
      )}
      {books && <TheBooks books={books} />}
    </>
  )
}

function Violations ({ told, more }: { readonly told: readonly Violation[], readonly more: number }) {
  return (
    <>
      <Table label='Violations' heads={['Code', 'What', 'Where', 'Whose']}>
        {told.map((violation, i) => (
          <tr key={i}>
            <th scope='row'>{violation.code}</th>
            <td>{violation.text}</td>
            <td>{violation.positions.join(', ')}</td>
            <td><Whose violation={violation} /></td>
          </tr>
        ))}
      </Table>
      {more > 0 && <p>And {numberOf(more)} more, which are not told.</p>}
    </>
  )
}

/** A way to the page of whom it is about. A node has none of its own: its row stands among the others. */
function Whose ({ violation: { app, userId, roomId, nodeId } }: { readonly violation: Violation }) {
  const of = app === undefined ? '' : ` of the app ${app}`
  const query = { app: app ?? '' }
  if (userId !== undefined) return <a href={linkTo('user', userId, query)}>user {userId}{of}</a>
  if (roomId !== undefined) return <a href={linkTo('rooms', roomId, query)}>room {roomId}{of}</a>
  return <a href={linkTo('nodes')}>node {nodeId}</a>
}

function TheBooks ({ books }: { readonly books: Books }) {
  return (
    <section aria-labelledby='books'>
      <h2 id='books'>The books</h2>
      <div class='books'>
        {tablesOf(books).map(({ title, rows }) => (
          <table key={title}>
            <caption>{title}</caption>
            <tbody>
              {rows.map(([what, count]) => (
                <tr key={what} class={what === 'difference' && count !== 0 ? 'differs' : ''}>
                  <th scope='row'>{what}</th>
                  <td class='number'>{(count === 0 ? 0 : count).toLocaleString('en-US')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        ))}
      </div>
      <p><CommandLine text={command('audit', '--json')} /></p>
    </section>
  )
}
