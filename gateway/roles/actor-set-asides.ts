import type { PartitionDeps } from '../../actors/partition.js'
import type { RoomTypes } from '../../actors/rooms/kind.js'
import type { UserTypes } from '../../actors/user/actor.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { ledger, posts, rooms } from '../../schemas/streams.js'
import type { SetAside } from '../metrics.js'
import type { SetAsides } from '../set-asides.js'
import { traceOfItem } from '../tracing/logged.js'
import type { Tracing } from '../tracing/tracing.js'

/* What is recorded of entries, users, rooms and derived records that the partitions of actors go on without. */

type OfKind<K extends UserTypes | RoomTypes> = Pick<PartitionDeps<K>, 'setAside' | 'keySetAside' | 'derivedSetAside'>

/** What one record of a stream that is derived from the ledger is called in metrics. */
const recordNames: Readonly<Record<string, SetAside>> = {
  uplinks: 'uplink', presence: 'presence', receipts: 'receipt', offline: 'hand-over',
}

export function ofUsers (asides: SetAsides, tracing: Tracing | undefined): OfKind<UserTypes> {
  return {
    setAside (entry, partition, offset, error) {
      const position = `${partition}@${offset}`
      const { userId, fact } = entry
      const about = { userId, fact: fact.type, position, ...traceOfItem(tracing, ledger, entry) }
      asides.add('entry', 'an entry was set aside', error, about, {
        stream: ledger, partition, where: position, reason: error.message, bytes: ledger.encodeBlock([entry]),
      })
    },
    keySetAside (userId, partition, offset, error) {
      const position = `${partition}@${offset}`
      asides.add('user', 'a user was set aside: nothing of theirs is folded any more', error, { userId, position }, {
        stream: ledger,
        partition,
        where: position,
        reason: `the state of this user can not be used, so none of their entries is folded: ${error.message}`,
        key: userId,
      })
    },
    derivedSetAside (item, partition, error, stream) {
      const { userId } = item
      const messageId = stream.messageId!(item)
      const about = { userId, messageId, partition, stream: stream.name, ...traceOfItem(tracing, stream, item) }
      asides.add(recordNames[stream.name]!, 'a derived record was set aside', error, about, {
        stream,
        partition,
        where: `${partition}`,
        reason: `record ${messageId} of the stream can not be published: ${error.message}`,
        key: userId,
      })
    },
  }
}

export function ofRooms (asides: SetAsides, tracing: Tracing | undefined): OfKind<RoomTypes> {
  return {
    setAside (entry, partition, offset, error) {
      const position = `${partition}@${offset}`
      const { roomId, fact } = entry
      const about = { roomId, fact: fact.type, position, ...traceOfItem(tracing, rooms, entry) }
      asides.add('room-entry', 'an entry of a room was set aside', error, about, {
        stream: rooms, partition, where: position, reason: error.message, bytes: rooms.encodeBlock([entry]),
      })
    },
    keySetAside (roomId, partition, offset, error) {
      const position = `${partition}@${offset}`
      asides.add('room', 'a room was set aside: nothing of it is folded any more', error, { roomId, position }, {
        stream: rooms,
        partition,
        where: position,
        reason: `the state of this room can not be used, so none of its entries is folded: ${error.message}`,
        key: roomId,
      })
    },
    derivedSetAside (post, partition, error) {
      const { roomId, roomSeq } = post
      const about = { roomId, roomSeq, partition, ...traceOfItem(tracing, posts, post) }
      asides.add('post', 'a post was set aside', error, about, {
        stream: posts,
        partition,
        where: `${partition}`,
        reason: `post ${roomSeq} of the room can not be published: ${error.message}`,
        key: roomId,
      })
    },
  }
}

/** Of an uplink that names a room, where the stream `rooms` will never take it. */
export function postOfUplink (
  asides: SetAsides, tracing: Tracing | undefined
): (post: RoomEntry, error: Error) => void {
  return (post, error) => {
    const { roomId } = post
    asides.add('post', 'a post was set aside', error, { roomId, ...traceOfItem(tracing, rooms, post) }, {
      stream: rooms,
      partition: 0,
      where: '',
      reason: `a post of an uplink can not be stored: ${error.message}`,
      key: roomId,
    })
  }
}
