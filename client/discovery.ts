import type { Backoff } from './backoff.js'
import type { Clock } from './clock.js'
import { Endpoints } from './endpoints.js'
import { ipConfigOf } from './ip-config.js'
import type { ClientOptions } from './options.js'
import type { Platform } from './platform.js'
import type { Keeper } from './storage/keeper.js'

export interface DiscoveryDeps {
  readonly platform: Platform
  readonly clock: Clock
  readonly keeper: Keeper
  /** Gets what ip-config says of waits. */
  readonly backoff: Backoff
}

/** Where to connect, as the options say. */
export function endpointsOf (options: ClientOptions, { platform, clock, keeper, backoff }: DiscoveryDeps): Endpoints {
  const { endpoints, ipConfig, transport = 'ws', region = '', resolve } = options
  const { getJson } = platform
  return new Endpoints({
    endpoints: endpoints === undefined ? undefined : [endpoints].flat(),
    ipConfig: ipConfig === undefined
      ? undefined
      : ipConfigOf({ urls: [ipConfig].flat(), transport, region, resolve, getJson }),
    resolve,
    nowMs: () => clock.nowMs(),
    learned: config => {
      Object.assign(backoff, config.backoff)
      keeper.put(endpointsKey(options), () => JSON.stringify(config.endpoints))
    },
  })
}

/** The last good list that an earlier run kept; none where it is damaged. */
export function endpointsKept (options: ClientOptions, kept: ReadonlyMap<string, string>): string[] {
  try {
    const endpoints = JSON.parse(kept.get(endpointsKey(options)) ?? '[]')
    return Array.isArray(endpoints) ? endpoints.filter(each => typeof each === 'string') : []
  } catch {
    return []
  }
}

/*
  Kept:
    endpoints/<transport> => JSON of the last good list
*/
function endpointsKey ({ transport = 'ws' }: ClientOptions): string {
  return `endpoints/${transport}`
}
