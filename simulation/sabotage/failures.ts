import type { Mutation } from './mutations.js'

/** Defects that show now and then, and that a node gets over: with each of them it still does all that it promises. */
export const failures: readonly Mutation[] = [
  {
    name: 'fold-throws',
    defect: 'a fold throws where it has changed the state already',
    file: 'actors/folding-actor.js',
    from: 'effects = kind.fold(state, entries[i]);',
    to: "effects = kind.fold(state, entries[i]); if (Math.random() < 0.005) throw new Error('a defect');",
  },
  {
    name: 'actor-stops',
    defect: 'an actor of a user or a room stops with its state, about every 25 s',
    file: 'actors/active-actors.js',
    from: 'const next = receive(state, message);',
    to: 'if (Math.abs(performance.now() - (globalThis.stoppedAtMs ?? 0)) > 25000) { globalThis.stoppedAtMs = performance.now(); ' +
      "throw new Error('a defect'); } const next = receive(state, message);",
  },
  {
    name: 'connection-throws',
    defect: 'the actor of a connection throws while it handles frames',
    file: 'actors/connection/actor.js',
    from: 'const frames = connection.takeFrames();',
    to: "const frames = connection.takeFrames(); if (Math.random() < 0.01) throw new Error('a defect');",
  },
]
