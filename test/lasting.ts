import type { ConditionName, Health } from '../schemas/conditions.js'

/** Keeps the conditions that last, by name and which one of its kind, with their reasons. */
export function lastingConditions (): { lasting: Map<string, string>, health: Health } {
  const lasting = new Map<string, string>()
  const health: Health = {
    begin: (name, reason, what = '') => { lasting.set(`${name} ${what}`, reason) },
    end: (name, what = '') => { lasting.delete(`${name} ${what}`) },
  }
  return { lasting, health }
}

/** What a machine brings about that is busy, or stands still for seconds; each is over by itself. */
const ofBusyMachines: ReadonlySet<unknown> = new Set<ConditionName>([
  'ledger', 'disk', 'appends', 'redis', 'redis-latency', 'links', 'users', 'snapshots', 'uplinks', 'tables', 'connections',
  'downlinks', 'followers', 'reports', 'node-table', 'watch', 'overload',
])

/** Of what a node has logged, all that is a warning or worse and that no busy machine explains. */
export function complaintsOf<Line extends { readonly level: number, readonly condition?: unknown }> (
  lines: readonly Line[]
): Line[] {
  return lines.filter(({ level, condition }) => level >= 40 && !ofBusyMachines.has(condition))
}
