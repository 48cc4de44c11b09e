import type { EventLog } from '../../ledger/log.js'
import type { GroupShown } from '../http/groups.js'
import { LagLook } from '../lag-look.js'
import { lagLookMs, lagOfGroup } from '../lag.js'
import type { GroupName, Groups } from './groups.js'

/** Names of the groups of an app. @throws GatewayError `ledger-unavailable` */
export async function groupsOfApp (groups: Groups, app: string): Promise<string[]> {
  return [...new Set((await groups.names()).filter(name => name.app === app).map(({ group }) => group))]
}

/** Undefined where there is no such group. @throws GatewayError `ledger-unavailable` */
export async function describeGroup (
  log: EventLog, groups: Groups, { app, group }: GroupName
): Promise<GroupShown | undefined> {
  const names = (await groups.names()).filter(name => name.app === app && name.group === group)
  if (names.length === 0) return undefined
  const look = new LagLook(log, lagLookMs)
  return {
    lags: await Promise.all(names.map(name => lagOfGroup(look, groups, name))),
    nodes: (await Promise.all(names.map(name => groups.nodesOf(name, name.stream)))).flat(),
    readers: names.flatMap(({ stream }) => groups.readersOf({ app, group }, stream)),
  }
}
