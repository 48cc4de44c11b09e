import type { Logger } from 'pino'
import type { Health } from '../schemas/conditions.js'
import { type App, type Apps, appsInText, appsVariable } from './apps.js'
import type { TokenIssuer } from './issuers.js'
import { readSettingFile } from './json-setting.js'
import { watchFiles } from './watched-files.js'

/** An app that is taken out is out within a second, as an API key that is revoked is. */
const everyMs = 400

export interface WatchedApps {
  readonly path: string
  readonly apps: Apps
  /** Issuers of the default app. */
  readonly ours: readonly TokenIssuer[]
  /** Business is asked about tokens. */
  readonly isAsked: boolean
  /** @throws ConfigError where the node would not start with these */
  check (apps: readonly App[]): void
  readonly health: Health
  readonly logger: Logger
}

/**
 * Has the apps be those of the file: now, whenever it changes, and at SIGHUP. While it is away or wrong, those read
 * last stay in use, and the condition `apps` says why.
 *
 * @returns what ends it
 * @throws ConfigError naming the variable where the file can't be read, or does not hold what it should
 */
export function watchApps ({ path, apps, ours, isAsked, check, health, logger }: WatchedApps): () => void {
  const stop = watchFiles({
    paths: [path],
    everyMs,
    read: () => [readSettingFile(appsVariable, path)] as const,
    take ([text]) {
      const now = appsInText(text, ours, isAsked)
      check(now)
      const change = changeOf(apps.all, now)
      apps.replace(now)
      if (Object.values(change).some(names => names.length > 0)) logger.info(change, 'the apps have changed')
    },
    looked (trouble) {
      if (trouble === '') health.end('apps')
      else health.begin('apps', `those read last stay in use: ${trouble}`)
    },
  })
  return () => {
    stop()
    health.end('apps')
  }
}

/** By name. */
interface Change {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
}

function changeOf (before: readonly App[], now: readonly App[]): Change {
  const [old, young] = [before, now].map(apps => new Map(apps.map(app => [app.name, JSON.stringify(app)])))
  const names = [...young!.keys()]
  return {
    added: names.filter(name => !old!.has(name)),
    changed: names.filter(name => old!.has(name) && old!.get(name) !== young!.get(name)),
    removed: [...old!.keys()].filter(name => !young!.has(name)),
  }
}
