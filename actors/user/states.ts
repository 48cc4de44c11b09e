import type { States } from '../kind.js'
import { changesOf, comparable, loadedState, partsOf, payloadParts, savedStateOf, stateOf, unsavable } from './parts.js'
import { savedNumbersOf } from './rebuilt.js'
import { newUser, type UserState } from './state.js'

/** States of users, in memory and as they are saved. */
export const userStates: States<UserState> = {
  fresh: newUser,
  partsOf,
  loaded: loadedState,
  rebuilding (state) { state.rebuiltFrom = savedNumbersOf(state) },
  changesOf,
  savedStateOf,
  stateOf,
  leftOut: payloadParts,
  unsavable,
  comparable,
}
