import { useState } from 'preact/hooks'
import { type ApiError, ask, type Session } from './api.js'
import { Trouble } from './parts.js'

export function SignIn ({ signedIn }: { readonly signedIn: (session: Session) => void }) {
  const [error, setError] = useState<ApiError>()
  const [isAsking, setAsking] = useState(false)
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    const apiKey = String(new FormData(form).get('apiKey') ?? '').trim()
    setAsking(true)
    try {
      signedIn(await ask<Session>('POST', '/console/session', { apiKey }))
    } catch (err) {
      setError(err as ApiError)
      setAsking(false)
    }
  }
  return (
    <main class='sign-in'>
      <h1>Ledgerline console</h1>
      <form onSubmit={event => { submit(event) }}>
        <label for='apiKey'>API key with the scopes operate and read</label>
        <input id='apiKey' name='apiKey' type='password' autocomplete='current-password' required />
        <Trouble error={error} />
        <button type='submit' disabled={isAsking}>Sign in</button>
      </form>
      <p>
        A gateway without a file of API keys has one in <code>api-key</code> in its data directory. With such
        a file, <code>ledgerline keys create --file FILE --name ops --scopes operate,read</code> makes one.
      </p>
    </main>
  )
}
