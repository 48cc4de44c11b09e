import type { LoginPolicy } from '../../schemas/facts.js'
import type { Policy } from './policy.js'

const loginPolicies: readonly string[] = ['device', 'platform', 'user', 'none'] satisfies LoginPolicy[]

/** What the gateway has where one of the two is left out. */
const frameRateDefault = 100
const frameBurstDefault = 200

const wanted = 'loginPolicy=user|platform|device|none, ttlMs=N, frameRate=N, frameBurst=N'

/**
 * Reads `loginPolicy=user`, `frameRate=10`, ...; one text may hold several with commas between them.
 *
 * @throws RangeError where there is another word or value
 */
export function parsePolicy (texts: readonly string[]): Policy {
  const values = new Map<string, string>()
  for (const text of texts.flatMap(text => text.split(','))) {
    const at = text.indexOf('=')
    values.set(at < 0 ? text : text.slice(0, at), at < 0 ? '' : text.slice(at + 1))
  }
  const policy: { -readonly [K in keyof Policy]: Policy[K] } = {}
  for (const [name, value] of values) {
    switch (name) {
      case 'loginPolicy':
        if (!loginPolicies.includes(value)) throw new RangeError(`loginPolicy: got ${JSON.stringify(value)}, want ${loginPolicies.join(', ')}`)
        policy.loginPolicy = value as LoginPolicy
        break
      case 'ttlMs': policy.ttlMs = numberOf(name, value); break
      case 'frameRate':
      case 'frameBurst': {
        const { rate = frameRateDefault, burst = frameBurstDefault } = policy.frames ?? {}
        const number = numberOf(name, value)
        policy.frames = name === 'frameRate' ? { rate: number, burst } : { rate, burst: number }
        break
      }
      case 'outboxMax':
        throw new RangeError('outboxMax is part of the fold: change it in another build, and replay that with --fold')
      default: throw new RangeError(`got ${JSON.stringify(name)}, want ${wanted}`)
    }
  }
  return policy
}

function numberOf (name: string, value: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value)
  throw new RangeError(`${name}: got ${JSON.stringify(value)}, want a number from 0`)
}
