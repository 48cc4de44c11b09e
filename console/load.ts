import { useEffect, useState } from 'preact/hooks'
import type { LoadAnswer, Values } from '../gateway/console/load-history.js'
import { type ApiError, ask } from './api.js'

const hourMs = 3_600_000

/** The load of the last hour: asked once, then what is new. */
export function useLoad (): { load: LoadAnswer | undefined, error: ApiError | undefined } {
  const [load, setLoad] = useState<LoadAnswer>()
  const [error, setError] = useState<ApiError>()
  useEffect(() => {
    let isOver = false
    let timer: ReturnType<typeof setTimeout> | undefined
    let known: LoadAnswer | undefined
    const look = async () => {
      try {
        const news = await ask<LoadAnswer>('GET', `/v1/load?since=${known?.atMs.at(-1) ?? 0}`)
        known = known ? joined(known, news) : news
        if (!isOver) setLoad(known)
        setError(undefined)
      } catch (err) {
        setError(err as ApiError)
      }
      if (!isOver) timer = setTimeout(look, known?.everyMs ?? 5_000)
    }
    look()
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [])
  return { load, error }
}

/** What was known with what is new, and nothing that is older than an hour. */
export function joined (known: LoadAnswer, news: LoadAnswer): LoadAnswer {
  const atMs = [...known.atMs, ...news.atMs]
  const gone = atMs.findIndex(at => at > (atMs.at(-1) ?? 0) - hourMs)
  const [before, after] = [known.atMs.length, news.atMs.length]
  const values = (a: Values | undefined, b: Values | undefined): Values =>
    [...a ?? nothing(before), ...b ?? nothing(after)].slice(Math.max(0, gone))
  const byName = (a: Readonly<Record<string, Values>>, b: Readonly<Record<string, Values>>) =>
    Object.fromEntries([...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
      .map(name => [name, values(a[name], b[name])]))
  const ids = [...new Set([...known.nodes, ...news.nodes].map(({ nodeId }) => nodeId))].sort()
  const nodes = ids.map(nodeId => {
    const [a, b] = [known, news].map(({ nodes }) => nodes.find(node => node.nodeId === nodeId))
    const { nodeId: _, ...fields } = (b ?? a)!
    const joint = Object.keys(fields).map(field => [field, values(a?.[field as 'waitMs'], b?.[field as 'waitMs'])])
    return { nodeId, ...Object.fromEntries(joint) }
  })
  return {
    everyMs: news.everyMs,
    atMs: atMs.slice(Math.max(0, gone)),
    nodes,
    lag: byName(known.lag, news.lag),
    refused: byName(known.refused, news.refused),
    ended: byName(known.ended, news.ended),
    settled: byName(known.settled, news.settled),
  }
}

function nothing (count: number): Values { return Array.from({ length: count }, () => null) }
