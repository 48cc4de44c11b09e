import { useEffect, useState } from 'preact/hooks'
import { ApiError, askLines } from './api.js'
import { ofApp } from './app.js'
import { linkTo } from './hooks.js'
import { Trouble } from './parts.js'
import { countOf, numberOf } from './words.js'

/** Lines that a page asks for, and those of them that its table shows. */
export const linesMax = 5_000
export const shownMax = 200

/** The lines of an address, asked once. Undefined until they are there. */
export function useLines<T> (address: string): { lines: T[] | undefined, error: ApiError | undefined } {
  const [state, setState] = useState<{ address: string, lines?: T[], error?: ApiError }>({ address })
  useEffect(() => {
    const leaving = new AbortController()
    askLines<T>(address, linesMax, leaving.signal).then(
      lines => { if (!leaving.signal.aborted) setState({ address, lines }) },
      (err: ApiError) => { if (!leaving.signal.aborted) setState({ address, error: err }) })
    return () => { leaving.abort() }
  }, [address])
  const isCurrent = state.address === address
  return { lines: isCurrent ? state.lines : undefined, error: isCurrent ? state.error : undefined }
}

interface AskEndingsProps {
  readonly page: string
  readonly code: string
  readonly codes: readonly string[]
  readonly since: string
}

/** Which endings are shown: of a code, within a while. */
export function AskEndings ({ page, code, codes, since }: AskEndingsProps) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const [code, since] = ['code', 'since'].map(name => String(form.get(name) ?? '').trim())
    location.hash = linkTo(page, '', { code: code!, since: since! })
  }
  return (
    <form class='ask' onSubmit={submit} key={`${code} ${since}`}>
      <label>Code <input name='code' list='codes' defaultValue={code} placeholder='any' /></label>
      <datalist id='codes'>{codes.map(each => <option key={each} value={each} />)}</datalist>
      <label>Within the last <input name='since' required defaultValue={since} pattern='[0-9]+[smhd]' title='such as 10m, 2h, 1d' size={6} /></label>
      <button type='submit'>Look</button>
    </form>
  )
}

/** Which values are the most frequent ones of each property: what endings have in common. */
export function Common<T> ({ of, properties }: {
  readonly of: readonly T[], readonly properties: ReadonlyArray<readonly [name: string, valueOf: (each: T) => string]>
}) {
  return (
    <section aria-labelledby='common'>
      <h2 id='common'>What they have in common</h2>
      <dl class='common'>
        {properties.map(([name, valueOf]) => (
          <div key={name}>
            <dt>{name}</dt>
            {mostFrequent(of.map(valueOf)).map(([value, count]) => (
              <dd key={value}><strong>{Math.round(100 * count / of.length)} %</strong> {value}</dd>
            ))}
          </div>
        ))}
      </dl>
    </section>
  )
}

const frequentMax = 3

function mostFrequent (values: readonly string[]): Array<[string, number]> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a).slice(0, frequentMax)
}

/** The lines of a page about endings, once they are there, and why there are none. */
export function Endings<T> ({ address, what: [one, many], children }: {
  readonly address: string
  /** Of the lines: what one is, and what several are. */
  readonly what: readonly [one: string, many: string]
  readonly children: (lines: readonly T[]) => preact.ComponentChildren
}) {
  const { lines, error } = useLines<T>(ofApp(address))
  if (error) return <Trouble error={error} />
  if (!lines) return <p role='status'>One moment.</p>
  if (lines.length === 0) return <p role='status'>No {many} of this kind within this time.</p>
  return (
    <>
      <p role='status'>{lines.length === linesMax ? `More than ${numberOf(linesMax)} ${many}` : countOf(lines.length, one, many)}.</p>
      {children(lines)}
    </>
  )
}
