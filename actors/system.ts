import { dispatch, spawn, start, stop } from 'nact'

/*
  The only file that knows nact (docs/decisions/0003-nact.md). What it must be protected from: a message to a parent
  copies its map of children, so parents here get no messages; a stopped parent leaves its children running, so
  whoever spawns stops; generated names collide, so ours are counted; a crash stops the actor, so it is always reported.
*/

/** A running actor: one message at a time, in the order told. */
export interface Actor<M> {
  /** Puts a message into its mailbox. The mailbox has no bound of its own: the sender keeps one. */
  tell (message: M): void
  /** Ends it after the message under way. What is still in the mailbox is dropped. */
  stop (): void
}

/** The next state, or a promise of it while which no other message is handled. Must not be undefined. */
export type Receive<S, M> = (state: S, message: M) => S | Promise<S>

export interface ActorSystem {
  /** @param onCrash told once when `receive` throws or rejects; the actor has stopped then */
  spawn<S, M> (receive: Receive<S, M>, state: S, onCrash: (error: Error, message: M) => void): Actor<M>
  stop (): void
}

export function startActors (): ActorSystem {
  const system = start()
  let spawned = 0
  return {
    spawn (receive, state, onCrash) {
      const reference = spawn(system, receive as any, `a${(++spawned).toString(36)}`, {
        initialState: state,
        onCrash: (message: any, error: any, ctx: any) => {
          onCrash(error, message)
          return ctx.stop
        },
      } as any)
      return new NactActor(reference)
    },
    stop: () => stop(system),
  }
}

class NactActor<M> implements Actor<M> {
  readonly #reference: any
  constructor (reference: unknown) { this.#reference = reference }
  tell (message: M): void { dispatch(this.#reference, message) }
  stop (): void { stop(this.#reference) }
}
