import type { EventLog } from '../../ledger/log.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { ledger } from '../../schemas/streams.js'
import { UnconfirmedCloses } from '../closes.js'
import { Forwarder } from '../forwarder.js'
import type { Kind } from '../kind.js'
import { dealingsOf, type UserDeps, type UserTypes } from './actor.js'
import { derivedStreams } from './derived.js'
import { DueFacts } from './due-facts.js'
import { fold } from './fold.js'
import { savedIn, toSave } from './saved-partition.js'
import { userStates } from './states.js'
import { ToldMemberships } from './told-memberships.js'
import { UnwrittenDownlinks } from './unwritten.js'

export interface UsersDeps extends Omit<UserDeps, 'links' | 'delivers'> {
  readonly log: Pick<EventLog, 'append' | 'partitions' | 'read'>
  /** The stream `rooms` will never take this one; whoever is told records it. */
  postSetAside (post: RoomEntry, error: Error): void
}

/** Actors of the ledger. */
export function users (deps: UsersDeps): Kind<UserTypes> {
  return {
    one: 'user',
    group: 'users',
    stream: ledger,
    owned: 'ledger',
    derived: derivedStreams,
    states: userStates,
    fold,
    keyOf: ({ userId }) => userId,
    open ({ partition, links, saved, folded, ask, progressed, failing }) {
      const memberships = new ToldMemberships(links)
      const before = savedIn(saved)
      const closes = new UnconfirmedCloses(memberships, before.closes)
      const unwritten = new UnwrittenDownlinks({
        partition, before: before.unwritten, mayLose: nodeId => links.mayLose(nodeId), ask,
      })
      const due = new DueFacts({ log: deps.log, partition, ask, failing }, folded, before.dueFrom)
      const forwarder = new Forwarder({
        log: deps.log,
        partition,
        setAside: deps.postSetAside,
        failed: reason => { failing(`posts of uplinks can not be stored: ${reason}`) },
        progressed,
      }, folded)
      return {
        received (block) {
          closes.received(block.items)
          memberships.received(block.items)
          due.received(block)
        },
        sweep (nowMs) {
          closes.repeat(nowMs)
          memberships.repeat(nowMs)
          unwritten.repeat()
          due.sweep(nowMs)
        },
        toSave () {
          const hasChanged = [closes.takeChanged(), due.takeMoved(), unwritten.takeChanged()].includes(true)
          return hasChanged
            ? toSave({ closes: closes.all, dueFrom: due.from, unwritten: unwritten.all })
            : undefined
        },
        folded (block) {
          unwritten.folded(block.items)
          forwarder.add(block)
        },
        handedOn: offset => forwarder.until(offset),
        get bytes () { return forwarder.bytes },
        get sinceMs () { return forwarder.sinceMs },
        end () {
          forwarder.end()
          due.end()
        },
        ...dealingsOf({
          ...deps, links: closes, delivers (downlink, isUntold) { unwritten.told(downlink, isUntold) },
        }),
      }
    },
  }
}
