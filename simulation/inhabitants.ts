import { join } from 'node:path'
import type { Role } from '../gateway/config.js'
import type { Address } from './api.js'
import { Consumer, othersRead, postsRead, uplinksRead } from './consumer.js'
import type { Device } from './device.js'
import { EmbeddedStores } from './embedded/stores.js'
import { isFault } from './faults.js'
import { GroupReaders } from './group-readers.js'
import { layout } from './layout.js'
import type { Network } from './network.js'
import { ports, SimulatedNode } from './node.js'
import { Observer } from './observer.js'
import { Operator } from './operator.js'
import type { Plan } from './plan.js'
import { Random } from './random.js'
import { Receiver } from './receiver.js'
import { RoomHost } from './rooms/host.js'
import { Service } from './service.js'
import { habitOf, settleDevices } from './settle-devices.js'
import { drawnSettings } from './settings.js'
import { Strangers } from './strangers.js'
import { SharedStores, type SimulatedStores } from './stores/stores.js'
import { TokenService } from './token-service.js'
import type { World } from './world.js'

/** Who lives in a world. */
export interface Inhabitants {
  readonly world: World
  readonly network: Network
  readonly stores: SimulatedStores
  readonly nodes: readonly SimulatedNode[]
  readonly devices: readonly Device[]
  readonly service: Service
  readonly operator: Operator
  readonly roomHost: RoomHost
  readonly consumers: readonly Consumer[]
  /** In half of all worlds, as the seed says. */
  readonly group: GroupReaders | undefined
  /** In half of all worlds. */
  readonly receiver: Receiver | undefined
  /** In three of ten. */
  readonly tokenService: TokenService | undefined
  /** Whether more may come to a node than it has time for. */
  readonly isCrowded: boolean
  readonly strangers: Strangers
  readonly observer: Observer
  /** What all that is sent and pushed comes faster by; 0 for none at all. */
  readonly pace: { factor: number }
}

export interface Surroundings {
  readonly world: World
  readonly network: Network
  readonly plan: Plan
  readonly dataDir: string
  /** Told of each line of a node's log, warnings and worse. */
  readonly logged: (nodeId: string, level: number, text: string) => void
  /** Told what was found while the world goes on. */
  readonly found: (violation: string) => void
}

const jwtSecret = 'the secret of every node in the simulation'
export const apiKey = 'the-key-of-every-simulated-node'
const partitions = 4
/** Between two posts of business in a room, about. */
const postEveryMs = 4_000

export function settle ({ world, network, plan, dataDir, logged, found }: Surroundings): Inhabitants {
  const { seed } = plan
  const random = new Random(seed, 'world')
  const turns = world.outside
  const isEmbedded = isOneNode(plan)
  const stores: SimulatedStores = isEmbedded
    ? new EmbeddedStores({ turns, seed })
    : new SharedStores({
      turns, seed, nowMs: () => world.nowMs, wallMs: () => world.wallMsOf(turns), partitions, sessionMs: 6_000,
    })
  const roles = layout(random, isEmbedded ? 1 : plan.nodes)
  const business = new Random(seed, 'business')
  const settings = drawnSettings(business)
  const devices: Device[] = []
  const receiver = business.chance(0.5)
    ? new Receiver(world, network, {
      address: '10.3.0.5',
      batch: business.pick([1, 5]),
      // What a webhook that has stopped misses meanwhile may be deleted.
      mayStop: stores.isWhole,
      isReady: userId => devices.every(({ options, hasConnected }) => options.userId !== userId || hasConnected),
    })
    : undefined
  const tokenService = settings.asksAboutTokens ? new TokenService(world, network, '10.3.0.6') : undefined
  const nodes = roles.map((roles, i) => new SimulatedNode(world, network, stores, {
    id: `n${i + 1}`,
    address: `10.0.0.${i + 1}`,
    roles,
    dataDir: join(dataDir, `n${i + 1}`),
    environment: {
      ...stores.environment,
      LEDGERLINE_PARTITIONS: String(partitions),
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_API_KEYS: apiKey,
      LEDGERLINE_DRAIN_MS: '5000',
      LEDGERLINE_STOP_GRACE_MS: '1000',
      ...settings.environment,
      ...receiver && { LEDGERLINE_WEBHOOKS: receiver.setting },
      ...tokenService?.environment,
    },
    boots: () => {
      receiver?.started(`10.0.0.${i + 1}`)
      tokenService?.started(`10.0.0.${i + 1}`)
    },
    logged: (level, text) => { logged(`n${i + 1}`, level, text) },
  }))
  const of = (role: Role): Address[] => nodes.filter(({ options }) => options.roles.includes(role))
    .map(({ options: { address } }) => ({ address, port: ports.http }))
  const paceNow = { factor: 1 }
  const pace = (): number => paceNow.factor
  const ipConfig = of('ip-config').map(({ address, port }) => `http://${address}:${port}/v1/ip-config`)
  const operator = new Operator(world, network, {
    address: '10.3.0.2',
    apiKey,
    push: of('push'),
    projections: of('projections'),
    wallMs: () => world.wallMsOf(turns),
    isCalm: !plan.faults.some(isFault),
  })
  const asks = { apiKey, nodes: of('push') }
  const service = new Service(world, network, {
    ...asks, pace, address: '10.3.0.1', pushEveryMs: userId => habitOf(userId).pushEveryMs,
  })
  devices.push(...settleDevices({
    world,
    network,
    random,
    count: plan.devices,
    ipConfig,
    jwtSecret,
    asksAboutTokens: tokenService !== undefined,
    pace,
    mayEnd: ({ options: { userId }, kicked }, code) => code === 'kicked'
      ? kicked <= (operator.kicks.get(userId) ?? 0)
      : code === 'banned' && operator.banned.has(userId),
    asked: userId => [...service.asked.get(userId) ?? [], ...receiver?.replies.get(userId) ?? []],
  }))
  const consumers = [uplinksRead, settings.tells ? business.pick(othersRead) : postsRead].map((of, i) =>
    new Consumer(world, network, { ...asks, name: `consumer-${i + 1}`, address: `10.3.1.${i + 1}`, of }))
  const group = business.chance(0.5)
    ? new GroupReaders(world, network, { ...asks, addresses: ['10.3.2.1', '10.3.2.2'] })
    : undefined
  return {
    world,
    network,
    stores,
    nodes,
    devices,
    service,
    operator,
    roomHost: new RoomHost(world, network, { ...asks, pace, address: '10.3.0.4', postEveryMs }),
    consumers,
    group,
    receiver,
    tokenService,
    isCrowded: settings.isCrowded,
    strangers: new Strangers(world, network, {
      address: '10.6.0.1', jwtSecret, nodes: nodes.filter(({ options: { roles } }) => roles.includes('edge')),
    }),
    observer: new Observer(world, stores, found),
    pace: paceNow,
  }
}

function isOneNode ({ stores, seed }: Plan): boolean {
  return stores === 'embedded' || (stores === 'drawn' && new Random(seed, 'stores').chance(0.25))
}
