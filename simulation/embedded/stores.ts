import type { Logger } from 'pino'
import type { Config } from '../../gateway/config.js'
import { embeddedStores } from '../../gateway/stores-embedded.js'
import type { Stores } from '../../gateway/stores.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStoreIn } from '../../ledger/embedded/store.js'
import type { EventLog } from '../../ledger/log.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import type { RebuildableTables } from '../../projections/tables/tables.js'
import { boundTo, type Happen } from '../faults.js'
import { Random } from '../random.js'
import { forwardOnly, offsets } from '../stores/forward.js'
import type { SimulatedStores } from '../stores/stores.js'
import type { Turns } from '../world.js'
import { SimulatedDisk } from './disk.js'
import { diskFaults } from './faults.js'

/** How far the data file is kept ahead: little, so that a disk which is full is felt within seconds. */
const headroomBytes = 256 << 10

export interface EmbeddedOptions {
  readonly turns: Turns
  readonly seed: number
}

/** What one node keeps by itself: the embedded side as it is, on a disk of the simulation. */
export class EmbeddedStores implements SimulatedStores {
  readonly disk: SimulatedDisk
  /** A share of the disk would be one of the machine that the simulation runs on. */
  readonly environment = { LEDGERLINE_RETENTION_BYTES: '0' }
  readonly isExact = true
  readonly isWhole = true
  readonly #random: Random
  readonly #complaints: string[] = []

  constructor ({ turns, seed }: EmbeddedOptions) {
    this.#random = new Random(seed, 'looks at the disk')
    this.disk = new SimulatedDisk(turns, new Random(seed, 'disk'))
  }

  get complaints (): readonly string[] { return [...this.disk.complaints, ...this.#complaints] }

  async open (config: Config, node: Turns, logger: Logger): Promise<Stores> {
    const stores = await embeddedStores(await openStoreIn(this.disk.open(node), { headroomBytes }), config, logger)
    const complain = (complaint: string): void => { this.#complaints.push(complaint) }
    return {
      ...stores,
      snapshots: forwardOnly(stores.snapshots, offsets.users, complain),
      roomSnapshots: forwardOnly(stores.roomSnapshots, offsets.rooms, complain),
    }
  }

  ended (silently: boolean): void { this.disk.crashed(silently) }

  faults (): Record<string, Happen> { return boundTo(this, diskFaults) }

  /** What a node would find that started on what the disk has now. */
  async look<T> (host: Turns, work: (log: EventLog, tables: RebuildableTables) => Promise<T>): Promise<T> {
    const store = await openStoreIn(this.disk.fork(this.#random).open(host), { headroomBytes })
    const tables = embeddedTables(store)
    const log = embeddedLog(store)
    try {
      return await work(log, tables)
    } finally {
      await log.close()
      await store.close()
    }
  }
}
