import { useEffect, useState } from 'preact/hooks'
import { type ApiError, ask } from './api.js'
import { appShown } from './app.js'

export interface Asked<T> {
  /** The last answer; undefined before the first. */
  readonly value: T | undefined
  /** Why there is no newer one. */
  readonly error: ApiError | undefined
  /** Asks at once. */
  again (): void
}

/** After as long, what is asked once is asked again where that may help. */
const retryMs = 3_000

/**
 * What the gateway answers to a GET, asked again and again.
 *
 * @param path undefined: nothing is asked
 * @param everyMs 0: asked until it is answered
 */
export function useAsked<T> (path: string | undefined, everyMs = 0): Asked<T> {
  const [state, setState] = useState<{ path: string | undefined, value?: T, error?: ApiError }>({ path })
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    if (path === undefined) return
    let isOver = false
    let timer: ReturnType<typeof setTimeout> | undefined
    const look = async () => {
      let nextMs = everyMs
      try {
        const value = await ask<T>('GET', path)
        if (!isOver) setState({ path, value })
      } catch (error) {
        if (everyMs === 0 && (error as ApiError).mayPass) nextMs = retryMs
        if (!isOver) setState(before => ({ ...before.path === path ? before : { path }, error: error as ApiError }))
      }
      if (!isOver && nextMs > 0) timer = setTimeout(look, nextMs)
    }
    look()
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [path, everyMs, turn])
  const isCurrent = state.path === path
  return {
    value: isCurrent ? state.value : undefined,
    error: isCurrent ? state.error : undefined,
    again: () => { setTurn(turn => turn + 1) },
  }
}

/** Where the address bar is, behind `#`: `/user/ann?at=3@17` is the page `user`, the id `ann`, and `at`. */
export interface Place {
  readonly page: string
  readonly id: string
  readonly query: URLSearchParams
}

export function usePlace (): Place {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const changed = () => { setHash(location.hash) }
    addEventListener('hashchange', changed)
    return () => { removeEventListener('hashchange', changed) }
  }, [])
  return placeOf(hash)
}

function placeOf (hash: string): Place {
  const [way = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  const [page = '', id = ''] = way.split('/')
  return { page, id: decoded(id), query: new URLSearchParams(query) }
}

/** Whoever writes an address by hand may write anything. */
function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** @returns what a link to the page has as its `href`; for the app that is shown, unless `query` names another one */
export function linkTo (page: string, id = '', query: Record<string, string> = {}): string {
  const given = Object.entries({ app: appShown(), ...query }).filter(([, value]) => value !== '')
  const search = given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
  return `#/${page}${id === '' ? '' : `/${encodeURIComponent(id)}`}${search}`
}
