import type { Test } from 'tap'
import { type Behaviour, startActors } from '../../../actors/system.js'
import { localLinks } from '../../../actors/links.js'
import type { StateChanges } from '../../../actors/snapshots.js'
import type { SavedAs } from '../../../actors/folding-actor.js'
import type { FoldingBlock } from '../../../actors/folding.js'
import { userActor, type UserActorDeps, type UserMessage, type UserTypes } from '../../../actors/user/actor.js'
import { type DerivedRecord, placeOf } from '../../../actors/user/derived.js'
import type { DownlinkOutcome } from '../../../actors/user/effects.js'
import type { UserState } from '../../../actors/user/state.js'
import type { Entry, Fact } from '../../../schemas/facts.js'
import type { UplinkAccepted } from '../../../schemas/records.js'
import { inShort, of, until } from '../given.js'
import { SavedParts } from './saved-parts.js'

export interface GivenUser {
  /** Of the next block. */
  offset: bigint
  readonly sent: string[]
  readonly published: string[]
  readonly setAside: string[]
  readonly failed: string[]
  readonly crashed: string[]
  readonly waits: string[]
  readonly aside: string[]
  readonly unreadable: string[]
  readonly settled: DownlinkOutcome[]
  block (offset: bigint): FoldingBlock<UserTypes>
  /** Folds the facts as one block of the ledger. */
  fold (...facts: Fact[]): Promise<void>
  /** Resolves once the message is handled. */
  tell (message: UserMessage): Promise<void>
  /** Saves what has changed, in the store that the actor loads from. */
  save (): Promise<SavedParts>
  savedAs (): Promise<SavedAs>
  state (): Promise<UserState>
}

/** The actor of user `ann` in a real system, over a ledger in memory. */
export function givenUser (
  t: Test,
  { deps = {}, saved = new SavedParts(), state = null }:
  { deps?: Partial<UserActorDeps>, saved?: SavedParts, state?: UserState | null } = {}
): GivenUser {
  const system = startActors()
  t.teardown(() => { system.stop() })
  const ledger: Array<{ offset: bigint, entry: Entry }> = []
  const derived: Array<DerivedRecord[] | undefined> = []
  let handled = 0
  let told = 0
  const receive = userActor('ann', {
    load: async () => saved.head && saved.loaded(),
    parts: async (_userId, ids) => new Map(ids.flatMap(id => saved.parts.has(id) ? [[id, saved.parts.get(id)!]] : [])),
    async * replay (_userId, after, before) {
      for (const replayed of ledger) if (replayed.offset > after && replayed.offset < before) yield replayed
    },
    links: { ...localLinks(), toConnection: message => { user.sent.push(inShort(message)) } },
    settled: settle => { user.settled.push(settle) },
    unfit: undefined,
    setAside: (_entry, _block, { message }) => { user.setAside.push(message) },
    keySetAside: ({ message }) => { user.aside.push(message) },
    failed: ({ message }) => { user.failed.push(message) },
    crashed: ({ message }) => { user.crashed.push(message) },
    unreadable: ({ message }) => { user.unreadable.push(message) },
    waits: ({ message }) => { user.waits.push(message) },
    waited: () => { user.waits.push('over') },
    ended: () => false,
    isHistory: () => false,
    delivers () {},
    resumeBytesMax: 1_000,
    ...deps,
  })
  const behaviour: Behaviour<UserState | null, UserMessage> = {
    receive (before, message) {
      const next = receive(before, message)
      if (next instanceof Promise) return next.finally(() => { handled++ })
      handled++
      return next
    },
    crashed (_state, _message, error) { t.error(error) },
  }
  const actor = system.spawn(behaviour, state)
  const user: GivenUser = {
    offset: 0n,
    sent: [],
    get published () {
      return (derived[placeOf.uplinks] as UplinkAccepted[] ?? []).map(({ seq, userSeq }) => `${seq}=${userSeq}`)
    },
    setAside: [],
    aside: [],
    unreadable: [],
    failed: [],
    crashed: [],
    waits: [],
    settled: [],
    block: offset => ({ offset, items: [], derived, handOn: undefined, folded: () => {} }),
    async fold (...facts) {
      const offset = user.offset++
      const entries = of('ann', ...facts)
      for (const entry of entries) ledger.push({ offset, entry })
      let folded = 0
      await user.tell({ type: 'entries', block: { ...user.block(offset), folded: () => { folded++ } }, entries })
      t.equal(folded, 1, 'the block is folded, once')
    },
    async tell (message) {
      const last = ++told
      actor.tell(message)
      await until(() => handled >= last)
    },
    async save () {
      saved.save(await user.savedAs() as StateChanges)
      return saved
    },
    async savedAs () {
      let taken: SavedAs
      await user.tell({ type: 'takeChanges', reply: (_userId, changes) => { taken = changes } })
      return taken
    },
    async state () { return (await user.save()).whole() },
  }
  return user
}

/** A store with this head alone. */
export function storeOf (head: Buffer): SavedParts {
  const saved = new SavedParts()
  saved.head = head
  return saved
}
