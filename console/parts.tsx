import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { ApiError } from './api.js'

/** What does the same from a shell. */
export function CommandLine ({ text }: { readonly text: string }) {
  const [isCopied, setCopied] = useState(false)
  const copy = () => {
    navigator.clipboard?.writeText(text).then(() => { setCopied(true) }, () => {})
  }
  return (
    <div class='command'>
      <code tabIndex={0}>{text}</code>
      {navigator.clipboard && <button type='button' onClick={copy}>{isCopied ? 'copied' : 'copy'}</button>}
    </div>
  )
}

export function Trouble ({ error }: { readonly error: ApiError | undefined }) {
  if (!error) return null
  return <p role='alert' class='error'><strong>{error.code}</strong> {error.message}</p>
}

interface ActionProps {
  readonly label: string
  /** What it does, for whoever is about to do it. */
  readonly meaning: string
  readonly command: string
  /** @returns what became of it, in words */
  readonly run: () => Promise<string>
  readonly isGrave?: boolean
  readonly children?: ComponentChildren
}

/** A button that changes something: it says what, and shows the command that does the same, before it does it. */
export function Action ({ label, meaning, command, run, isGrave = false, children }: ActionProps) {
  const [state, setState] = useState<'closed' | 'open' | 'running'>('closed')
  const [done, setDone] = useState('')
  const [error, setError] = useState<ApiError>()
  const begin = async () => {
    setState('running')
    setError(undefined)
    try {
      setDone(await run())
      setState('closed')
    } catch (err) {
      setError(err as ApiError)
      setState('open')
    }
  }
  if (state === 'closed') {
    return (
      <span class='action'>
        <button type='button' class={isGrave ? 'grave' : ''} onClick={() => { setState('open'); setDone('') }}>{label}</button>
        {done !== '' && <span role='status'>{done}</span>}
      </span>
    )
  }
  return (
    <div class='confirm' role='group' aria-label={label}>
      <p>{meaning}</p>
      {children}
      <CommandLine text={command} />
      <Trouble error={error} />
      <button type='button' class={isGrave ? 'grave' : ''} disabled={state === 'running'} onClick={() => { begin() }}>
        {label} now
      </button>{' '}
      <button type='button' onClick={() => { setState('closed') }}>do not</button>
    </div>
  )
}

/** A page: what it is, what it shows, and what shows the same in a shell. */
export function Page ({ title, shell = [], children }: {
  readonly title: string, readonly shell?: readonly string[], readonly children: ComponentChildren
}) {
  return (
    <main id='page' tabIndex={-1}>
      <h1>{title}</h1>
      {children}
      {shell.length > 0 && (
        <section aria-labelledby='shell'>
          <h2 id='shell'>From a shell</h2>
          {shell.map(text => <CommandLine key={text} text={text} />)}
        </section>
      )}
    </main>
  )
}

/** A table that scrolls by itself on a small screen. */
export function Table ({ label, heads, children }: {
  readonly label: string, readonly heads: readonly string[], readonly children: ComponentChildren
}) {
  return (
    <div class='scroll' tabIndex={0} role='region' aria-label={label}>
      <table>
        <thead><tr>{heads.map(head => <th key={head} scope='col'>{head}</th>)}</tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}
