import { Device, type DeviceOptions, dialects } from './device.js'
import type { Network } from './network.js'
import { closedRooms, openRooms } from './rooms/member.js'
import type { Random } from './random.js'
import { jwtOf, opaqueOf } from './tokens.js'
import type { World } from './world.js'

export interface DevicesOptions extends Pick<DeviceOptions, 'ipConfig' | 'pace' | 'mayEnd'> {
  readonly world: World
  readonly network: Network
  readonly random: Random
  readonly count: number
  /** Of the tokens that nodes verify. */
  readonly jwtSecret: string
  /** Half of the devices have tokens that nodes must ask about. */
  readonly asksAboutTokens: boolean
  /** Ids of what was asked to be pushed to a user so far. */
  readonly asked: (userId: string) => Iterable<string>
}

/** How often something happens to a user. */
export interface Habit {
  /** Between two sends of a device, about; ms. */
  readonly sendEveryMs: number
  /** Between two pushes to the user, about; ms. */
  readonly pushEveryMs: number
}

const devicesPerUser = 2
const lively: Habit = { sendEveryMs: 3_000, pushEveryMs: 2_000 }
const quiet: Habit = { sendEveryMs: 30_000, pushEveryMs: 20_000 }
/** Where there are more users the others are quiet, as most are: only with them nothing happens for a while. */
const livelyMax = 8

/** @param userId as in `u3` */
export function habitOf (userId: string): Habit { return Number(userId.slice(1)) < livelyMax ? lively : quiet }

export function settleDevices (options: DevicesOptions): Device[] {
  const { world, network, random, count, ipConfig, pace, mayEnd, asked } = options
  return Array.from({ length: count }, (_, i) => {
    const userId = `u${Math.floor(i / devicesPerUser)}`
    return new Device(world, network, {
      userId,
      deviceId: `d${i % devicesPerUser}`,
      address: `10.1.${i >> 8}.${i & 255}`,
      ipConfig,
      dialect: random.pick(dialects),
      acksItself: random.chance(0.25),
      token: tokensOf(userId, options),
      rooms: [...openRooms.filter(() => random.chance(0.6)), ...closedRooms],
      sendEveryMs: habitOf(userId).sendEveryMs,
      pace,
      mayEnd,
      asked: () => asked(userId),
    })
  })
}

/** Some are good for less than two minutes. */
function tokensOf (
  userId: string, { world, random, jwtSecret, asksAboutTokens }: DevicesOptions
): DeviceOptions['token'] {
  const goodMs = random.chance(0.3) ? random.between(20_000, 90_000) : Infinity
  const isOpaque = asksAboutTokens && random.chance(0.5)
  return tokenId => {
    const token = { userId, tokenId, expiresAtMs: world.wallMsOf(world.outside) + goodMs }
    return isOpaque ? opaqueOf(token) : jwtOf(token, jwtSecret)
  }
}
