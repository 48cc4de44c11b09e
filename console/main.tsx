import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { ask, onSignedOut, type Session } from './api.js'
import { Shell } from './shell.js'
import { SignIn } from './sign-in.js'

/** Undefined until it is known whether somebody is signed in, null where nobody is. */
type MaybeSession = Session | null | undefined

function App () {
  const [session, setSession] = useState<MaybeSession>()
  useEffect(() => {
    onSignedOut(() => { setSession(null) })
    ask<Session>('GET', '/console/session').then(setSession, () => { setSession(null) })
  }, [])
  if (session === undefined) return <p role='status'>One moment.</p>
  if (session === null) return <SignIn signedIn={setSession} />
  return <Shell session={session} signedOut={() => { setSession(null) }} />
}

render(<App />, document.getElementById('app')!)
