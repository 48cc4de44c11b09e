import Mailbox from 'denque'
import { start, stop } from 'nact'
import { Actor as BaseActor } from 'nact/lib/actor.js'
import systemMap from 'nact/lib/system-map.js'

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

/** What all actors of one kind do. Shared, so that an actor costs no function of its own. */
export interface Behaviour<S, M> {
  /** The next state, or a promise of it while which no other message is handled. Must not be undefined. */
  receive (state: S, message: M): S | Promise<S>
  /** Told once when `receive` throws or rejects. The actor stops then. */
  crashed (state: S, message: M, error: Error): void
}

export interface ActorSystem {
  spawn<S, M> (behaviour: Behaviour<S, M>, state: S): Actor<M>
  stop (): void
}

export function startActors (): ActorSystem {
  const reference = start()
  const system = systemMap.applyOrThrowIfStopped(reference, concrete => concrete)
  const functions = new WeakMap<object, unknown>()
  let spawned = 0
  return {
    spawn<S, M> (behaviour: Behaviour<S, M>, state: S) {
      let receive = functions.get(behaviour)
      if (!receive) functions.set(behaviour, receive = reporting(behaviour))
      const options = { initialState: state, onCrash: stopCrashed, afterStop: nothing }
      return new LeanActor<M>(system, `a${(++spawned).toString(36)}`, system, receive, options)
    },
    stop: () => stop(reference),
  }
}

/**
 * nact's actor without what ours have no use for: they have no children, and read no context, of which nact makes one
 * for every message. Nobody looks for them by a reference or a path. And few ever have mail that waits.
 */
class LeanActor<M> extends BaseActor implements Actor<M> {
  constructor (...args: unknown[]) {
    super(...args)
    this.children = this.childReferences = childless
    this.parent.childReferences.delete(this.name)
    this.reference = this.path = nowhere
    this.mailbox = noMail
  }

  tell (message: M): void {
    if (this.stopped) return
    if (this.busy && this.mailbox === noMail) this.mailbox = new Mailbox()
    this.dispatch(message, nobody)
  }

  override processNext (): void {
    super.processNext()
    if (!this.busy) this.mailbox = noMail
  }

  override stop (): void {
    if (!this.stopped) super.stop()
  }

  override createContext (): object { return noContext }

  /** The handle of an immediate holds those that were set after it, so one that is kept keeps a chain of them. */
  override afterMessage (): void { this.immediate = undefined }
}

const childless: ReadonlyMap<string, unknown> = new Map()
const nowhere = {}
/** Of all actors whose mailbox is empty: nothing is ever put into it. */
const noMail = new Mailbox<unknown>()
const noContext = {}
const nobody = {}

function reporting<S, M> (behaviour: Behaviour<S, M>) {
  return (state: S, message: M): S | Promise<S> => {
    const report = (error: unknown): never => {
      behaviour.crashed(state, message, error as Error)
      throw error
    }
    try {
      const next = behaviour.receive(state, message)
      return next instanceof Promise ? next.catch(report) : next
    } catch (err) {
      return report(err)
    }
  }
}

function stopCrashed (_message: unknown, _error: unknown, ctx: { stop: symbol }): symbol { return ctx.stop }
function nothing (): void {}
