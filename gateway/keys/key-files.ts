import type { Health } from '../../schemas/conditions.js'
import type { ApiKeys } from './api-keys.js'
import { checkKeyFile, type NamedFile, watchKeyFile } from './watched-file.js'

interface Watched {
  readonly path: string
  readonly stop: () => void
}

/** The files of API keys that a node reads, each for as long as its app names it. */
export class KeyFiles {
  readonly #watched = new Map<string, Watched>()

  constructor (readonly keys: ApiKeys, readonly health: Health) {}

  /** Undefined where the app has none; empty for the default one. */
  pathOf (app: string): string | undefined { return this.#watched.get(app)?.path }

  /** @throws ConfigError naming the setting of one that is not watched yet, and can't be used */
  check (files: readonly NamedFile[]): void {
    for (const file of files) if (this.#isNew(file)) checkKeyFile(file)
  }

  /**
   * Has these watched, and no others: keys of a file that is not among them are good for nothing from now on.
   *
   * @throws ConfigError as `check` does
   */
  use (files: readonly NamedFile[]): void {
    const wanted = new Map(files.map(({ app, path }) => [app, path]))
    for (const [app, { path, stop }] of this.#watched) {
      if (wanted.get(app) === path) continue
      stop()
      this.#watched.delete(app)
      if (!wanted.has(app)) this.keys.replace({ keys: [] }, app)
    }
    for (const file of files) {
      if (!this.#isNew(file)) continue
      this.#watched.set(file.app, { path: file.path, stop: watchKeyFile(file, this.keys, this.health) })
    }
  }

  stop (): void {
    for (const { stop } of this.#watched.values()) stop()
    this.#watched.clear()
  }

  #isNew ({ app, path }: NamedFile): boolean { return this.#watched.get(app)?.path !== path }
}
