import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

/** Imports point one way (docs/architecture.md): a folder may import from those named here, and from itself. */
export const mayImport = {
  schemas: [],
  ledger: ['schemas'],
  projections: ['ledger', 'schemas'],
  actors: ['ledger', 'schemas'],
  evidence: ['actors', 'projections', 'ledger', 'schemas'],
  client: ['schemas'],
  service: ['schemas', 'client'],
  gateway: ['evidence', 'actors', 'projections', 'ledger', 'schemas'],
  console: ['gateway', 'evidence', 'projections', 'schemas'],
  cli: ['gateway', 'evidence', 'actors', 'projections', 'ledger', 'schemas', 'client'],
  simulation: ['gateway', 'evidence', 'actors', 'projections', 'ledger', 'schemas', 'client'],
}
const folders = Object.keys(mayImport)

/** Folders within a folder that have the name of another one. Patterns take one for the other; the test does not. */
const namesakes = { gateway: ['console'] }

/** What `folder` may not import, as patterns of `no-restricted-imports`. */
function forbiddenIn (folder) {
  const allowed = [folder, ...mayImport[folder], ...namesakes[folder] ?? []]
  const forbidden = folders.filter(other => !allowed.includes(other))
  return {
    group: [...forbidden.map(other => `**/${other}/**`), '**/test/**', '**/bench/**'],
    message: `${folder} may import only ${mayImport[folder].join(', ') || 'itself'}.`,
  }
}

function importsOneWay (folder) {
  return {
    files: [`${folder}/**/*.{ts,tsx}`],
    rules: { 'no-restricted-imports': ['error', { patterns: [forbiddenIn(folder)] }] },
  }
}

/** Folds and projections are pure: no I/O, no clock, no server. By folder. */
const pureFiles = {
  actors: [
    'actors/user/{bans,effect-list,fold*,forgotten,hand-over,memberships,messages,outbox,presence,recall,sending,state}.ts',
    'actors/rooms/{fold,state,tail}.ts', 'actors/{digest,requests}.ts',
  ],
  projections: ['projections/{closed,presence,routing,nodes}.ts'],
  gateway: ['gateway/choice.ts'],
}

function pure (folder) {
  const doesIo = { group: ['node:*', 'nact', 'kafkajs', 'ioredis', 'lmdb', 'fastify*'], message: 'This file does no I/O.' }
  return {
    files: pureFiles[folder],
    rules: {
      // Both, for the last rule of a name is the one that counts.
      'no-restricted-imports': ['error', { patterns: [forbiddenIn(folder), doesIo] }],
      'no-restricted-globals': ['error', 'process', 'setTimeout', 'setInterval', 'setImmediate', 'Buffer'],
      'no-restricted-properties': ['error',
        { object: 'Date', property: 'now', message: 'Time comes from the entry.' },
        { object: 'Math', property: 'random', message: 'A fold gives the same answer for ever.' },
      ],
    },
  }
}

export default [
  ...neostandard({ ts: true, ignores: [...resolveIgnoresFromGitignore(), 'docs/**'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 120, ignoreStrings: true, ignoreUrls: true, ignoreRegExpLiterals: true }] } },
  ...folders.map(importsOneWay),
  ...Object.keys(pureFiles).map(pure),
]
