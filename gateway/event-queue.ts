/**
 * What was told of a long work and not taken yet. Of the progress only the last: nobody is to make up for the others.
 */
export class EventQueue<E extends { readonly type: string }> implements AsyncIterable<E> {
  readonly #waiting: E[] = []
  #ended = false
  #wake = () => {}

  put (event: E): void {
    if (event.type === 'progress' && this.#waiting.at(-1)?.type === 'progress') this.#waiting.pop()
    this.#waiting.push(event)
    this.#wake()
  }

  end (): void {
    this.#ended = true
    this.#wake()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<E> {
    for (;;) {
      const event = this.#waiting.shift()
      if (event) yield event
      else if (this.#ended) return
      else await new Promise<void>(resolve => { this.#wake = resolve })
    }
  }
}
