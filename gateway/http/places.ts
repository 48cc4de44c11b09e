import { GatewayError } from '../../schemas/errors.js'

/**
 * Places for those who read at the same time: `max` for all apps together. An app that has none gets one all the same:
 * the readers of one app keep none of another out.
 */
export class Places {
  readonly #max: number
  #taken = 0
  readonly #ofApps = new Map<string, number>()

  constructor (max: number) { this.#max = max }

  /**
   * @param app empty for the default one
   * @returns what gives the place back, to be called once
   * @throws GatewayError `overloaded`
   */
  take (app: string): () => void {
    const ofApp = this.#ofApps.get(app) ?? 0
    if (this.#taken >= this.#max && ofApp > 0) throw new GatewayError('overloaded', `${this.#max} readers are the bound`)
    this.#taken++
    this.#ofApps.set(app, ofApp + 1)
    return () => this.#giveBack(app)
  }

  #giveBack (app: string): void {
    this.#taken--
    const left = this.#ofApps.get(app)! - 1
    if (left > 0) this.#ofApps.set(app, left)
    else this.#ofApps.delete(app)
  }
}
