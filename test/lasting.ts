import type { Health } from '../schemas/conditions.js'

/** Keeps the conditions that last, by name and which one of its kind, with their reasons. */
export function lastingConditions (): { lasting: Map<string, string>, health: Health } {
  const lasting = new Map<string, string>()
  const health: Health = {
    begin: (name, reason, what = '') => { lasting.set(`${name} ${what}`, reason) },
    end: (name, what = '') => { lasting.delete(`${name} ${what}`) },
  }
  return { lasting, health }
}
