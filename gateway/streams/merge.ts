/**
 * The items of all `sources` as they come, each source in its own order, at most one item of each held.
 *
 * Not by `Promise.race` in a loop: each race would leave a reaction on every promise that stays pending, and so a busy
 * source would fill the memory of the idle ones.
 */
export async function * merge<T> (sources: ReadonlyArray<AsyncIterable<T>>): AsyncGenerator<T> {
  const iterators = sources.map(source => source[Symbol.asyncIterator]())
  const arrived: Array<{ iterator: AsyncIterator<T>, result: IteratorResult<T> }> = []
  let failure: { cause: unknown } | undefined
  let wake = () => {}

  function advance (iterator: AsyncIterator<T>): void {
    iterator.next().then(
      result => { arrived.push({ iterator, result }); wake() },
      (cause: unknown) => { failure ??= { cause }; wake() }
    )
  }

  try {
    for (const iterator of iterators) advance(iterator)
    for (let open = iterators.length; open > 0;) {
      if (arrived.length === 0 && failure === undefined) await new Promise<void>(resolve => { wake = resolve })
      if (failure !== undefined) throw failure.cause
      const { iterator, result } = arrived.shift()!
      if (result.done === true) {
        open--
      } else {
        yield result.value
        advance(iterator)
      }
    }
  } finally {
    // Not awaited: one that waits for its next item ends only when its own signal says so.
    for (const iterator of iterators) iterator.return?.().catch(() => {})
  }
}
