import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

/** Imports point one way (docs/architecture.md): a folder may import from those named here, and from itself. */
const mayImport = {
  schemas: [],
  ledger: ['schemas'],
  projections: ['ledger', 'schemas'],
  actors: ['ledger', 'schemas'],
  evidence: ['actors', 'projections', 'ledger', 'schemas'],
  client: ['schemas'],
  service: ['schemas', 'client'],
  gateway: ['evidence', 'actors', 'projections', 'ledger', 'schemas', 'console'], // its own folder of that name
  console: ['gateway', 'evidence', 'projections', 'schemas'],
  cli: ['gateway', 'evidence', 'actors', 'projections', 'ledger', 'schemas', 'client'],
  simulation: ['gateway', 'evidence', 'actors', 'projections', 'ledger', 'schemas', 'client'],
}
const folders = Object.keys(mayImport)

function importsOneWay (folder) {
  const forbidden = folders.filter(other => other !== folder && !mayImport[folder].includes(other))
  const patterns = [{
    group: [...forbidden.map(other => `**/${other}/**`), '**/test/**', '**/bench/**'],
    message: `${folder} may import only ${mayImport[folder].join(', ') || 'itself'}.`,
  }]
  return { files: [`${folder}/**/*.{ts,tsx}`], rules: { 'no-restricted-imports': ['error', { patterns }] } }
}

/** Folds and projections are pure: no I/O, no clock, no server. */
const pure = {
  files: ['actors/user/fold.ts', 'actors/user/state.ts', 'actors/user/outbox.ts', 'actors/user/digest.ts',
    'actors/user/forgotten.ts', 'actors/user/requests.ts', 'projections/closed.ts', 'projections/presence.ts', 'projections/routing.ts', 'projections/nodes.ts', 'gateway/choice.ts'],
  rules: {
    'no-restricted-imports': ['error', {
      patterns: [{
        group: ['node:*', 'nact', 'kafkajs', 'ioredis', 'lmdb', 'fastify*'],
        message: 'This file does no I/O.',
      }],
    }],
    'no-restricted-globals': ['error', 'process', 'setTimeout', 'setInterval', 'setImmediate', 'Buffer'],
    'no-restricted-properties': ['error',
      { object: 'Date', property: 'now', message: 'Time comes from the entry.' },
      { object: 'Math', property: 'random', message: 'A fold gives the same answer for ever.' },
    ],
  },
}

export default [
  ...neostandard({ ts: true, ignores: [...resolveIgnoresFromGitignore(), 'docs/**'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 120, ignoreStrings: true, ignoreUrls: true, ignoreRegExpLiterals: true }] } },
  ...folders.map(importsOneWay),
  pure,
]
