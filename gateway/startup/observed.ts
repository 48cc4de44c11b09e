import { GroupLags } from '../groups/group-lags.js'
import type { Base } from './base.js'
import type { Roles } from './roles.js'

/** Has the metrics read what the roles of this node know. */
export function observeRoles ({ config, metrics, health, stores, apps }: Base, roles: Roles): void {
  const { load: { overload, work }, projections, users, edge, webhooks, push, groups } = roles
  metrics.observe({
    connections: () => edge?.connections ?? 0,
    connectionsMax: edge ? config.connectionsMax : 0,
    memoryPressure: () => edge?.memoryPressure ?? 0,
    intakeBytes: () => edge?.intakeBytes ?? 0,
    broadcasts: () => edge?.broadcasts.running ?? 0,
    rooms: () => edge?.rooms.rooms ?? 0,
    roomBytes: () => edge?.rooms.tailBytes ?? 0,
    overloadWaitSeconds: () => overload.waitMs / 1_000,
    heldConnections: () => work.waiting,
    admissionLevel: () => overload.level,
    activeUsers: () => users?.activeUsers() ?? 0,
    activeRooms: () => users?.activeRooms() ?? 0,
    tableLag: () => projections?.lag() ?? new Map(),
    conditionSeconds: () => health.seconds(),
    circuits: () => [...stores.circuits(), ...edge?.circuits ?? [], ...webhooks?.circuits() ?? []],
  })
  metrics.observeGroups(groups, new GroupLags(stores.log, groups))
  if (!apps.areMany) return
  const none = new Map<string, number>()
  metrics.observeApps({
    connections: () => edge?.apps?.connections() ?? none,
    uplinks: () => edge?.apps?.uplinks() ?? none,
    downlinks: () => push.requested,
  })
}
