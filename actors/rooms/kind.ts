import type { Posted } from '../../schemas/records.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { posts, rooms as roomsStream } from '../../schemas/streams.js'
import type { Kind, KindTypes } from '../kind.js'
import type { RoomQuestion } from '../room-links.js'
import { answerRoom, tellUnusable } from './answers.js'
import { foldRoom, type RoomEffect } from './fold.js'
import { Interests } from './interests.js'
import { Nodes, type NodesDeps } from './nodes.js'
import { roomStates } from './parts.js'
import { type AskSilence, silenceOf } from './silence.js'
import { SilentRooms, type SilentRoomsDeps } from './silent-rooms.js'
import { RoomSink } from './sink.js'
import type { RoomState } from './state.js'

export interface RoomTypes extends KindTypes {
  entry: RoomEntry
  state: RoomState
  effect: RoomEffect
  question: RoomQuestion | AskSilence
  derived: Posted
  handOn: never
}

export type RoomsDeps = Omit<NodesDeps, 'partition'> & Pick<SilentRoomsDeps, 'saved' | 'silenceMs'>

/** Actors of the stream `rooms`. */
export function rooms (deps: RoomsDeps): Kind<RoomTypes> {
  return {
    one: 'room',
    group: 'rooms',
    stream: roomsStream,
    owned: 'rooms',
    derived: [posts],
    states: roomStates,
    fold: foldRoom,
    keyOf: ({ roomId }) => roomId,
    open ({ partition, links, ask, failing }) {
      const nodes = new Nodes({ ...deps, partition })
      const interests = new Interests({
        isGone: deps.isGone,
        end: (roomId, nodeId, interest) => { nodes.end(roomId, nodeId, interest) },
      })
      const silent = new SilentRooms({ ...deps, partition, ask, failing })
      return {
        received ({ items }) { interests.received(items) },
        sweep (nowMs) {
          interests.sweep()
          silent.sweep(nowMs)
        },
        toSave: () => undefined,
        folded () {},
        handedOn: async () => true,
        bytes: 0,
        sinceMs: 0,
        end () {},
        sink: turn => new RoomSink(turn, links, nodes),
        answer (question, state) {
          if (question.type !== 'askSilence') {
            answerRoom(question, state, links, nodes)
            return
          }
          nodes.endGone(question.roomId, state)
          question.answer(silenceOf(state, question.beforeMs))
        },
        refuseEntries (entries) {
          for (const { roomId, fact } of entries) {
            if (fact.type === 'NodeJoined') tellUnusable(links, roomId, fact.nodeId, fact.interest)
          }
        },
        refuse (question) {
          // Who asks once for itself does not wait for ever.
          if (question.type === 'askSilence') question.answer(undefined)
          if (question.type === 'askRoom') tellUnusable(links, question.roomId, question.nodeId, question.interest)
        },
      }
    },
  }
}
