import { quiet } from './client-error.js'
import type { ClientError } from './client-error.js'

/** Those who wait for something that will never be once the client has ended. */
export class Waiters {
  readonly #waiting = new Set<(error: ClientError) => void>()
  #error: ClientError | undefined

  /**
   * @param begin gets what resolves it; what it returns is called when there is nothing to wait for any more
   * @throws ClientError how the client ended
   */
  wait<T> (begin: (resolve: (value: T) => void) => (() => void) | undefined): Promise<T> {
    return quiet(new Promise((resolve, reject) => {
      if (this.#error) return reject(this.#error)
      let stop = (): void => {}
      const settle = (error: ClientError | undefined, value?: T): void => {
        this.#waiting.delete(settle)
        stop()
        if (error) reject(error)
        else resolve(value!)
      }
      this.#waiting.add(settle)
      stop = begin(value => settle(undefined, value)) ?? stop
    }))
  }

  end (error: ClientError): void {
    this.#error = error
    for (const settle of this.#waiting) settle(error)
  }
}
