/* eslint no-template-curly-in-string: 'off' -- they are in the text of applications */

/** What an application does; `said` is for what becomes of it. */
const application = (endpoint: string, token: string, said: string) => `
  const client = createClient({
    endpoints: [${JSON.stringify(endpoint)}],
    getToken: () => ${JSON.stringify(token)},
    deviceId: 'app',
    storage: inMemory(),
  })
  client.on('disconnected', ({ code, reason }) => { if (code !== 'disconnected') console.error(code, reason) })
  client.connect()
  client.send('hello').then(({ userSeq }) => ${said})`
const importing = 'import { createClient, inMemory } from "@ledgerline/client"\n'

export interface Given {
  readonly endpoint: string
  readonly token: string
}

export interface Tool {
  readonly packages: readonly string[]
  files (given: Given): Readonly<Record<string, string>>
  readonly command: readonly string[]
  /** Where it has put pages, to be opened in a browser; undefined where the command runs the application. */
  readonly pages?: string
}

const inPage = ({ endpoint, token }: Given) =>
  importing + application(endpoint, token, 'document.title = `sent ${userSeq}`')
const inTest = ({ endpoint, token }: Given) =>
  application(endpoint, token, '{ expect(userSeq).toBe(1); return client.close() }')
    .replace('client.send', 'return client.send')

/** Each with an application that sends one uplink. */
export const tools: Readonly<Record<string, Tool>> = {
  Vite: {
    packages: ['vite@8.3.8'],
    files: given => ({
      'index.html': '<!doctype html><script type=module src=/main.js></script>', 'main.js': inPage(given),
    }),
    command: ['vite', 'build'],
    pages: 'dist',
  },
  webpack: {
    packages: ['webpack@5.112.2', 'webpack-cli@7.3.1'],
    files: given => ({
      'src/index.js': inPage(given), 'dist/index.html': '<!doctype html><script src=main.js></script>',
    }),
    command: ['webpack', '--mode', 'production'],
    pages: 'dist',
  },
  'Next.js': {
    packages: ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'],
    files: ({ endpoint, token }) => ({
      'next.config.mjs': 'export default { output: "export" }',
      'app/layout.js': 'export default ({ children }) => <html lang="en"><body>{children}</body></html>',
      'app/page.js': `'use client'\nimport { useEffect, useState } from 'react'\n${importing}
        export default function Page () {
          const [seq, setSeq] = useState()
          useEffect(() => { ${application(endpoint, token, '{ setSeq(userSeq); document.title = `sent ${userSeq}` }')} }, [])
          return <p>{seq}</p>
        }`,
    }),
    command: ['next', 'build'],
    pages: 'out',
  },
  'Jest with jsdom, in CommonJS': {
    packages: ['jest@30.5.2', 'jest-environment-jsdom@30.5.2'],
    files: given => ({
      'app.test.js': `/** @jest-environment jsdom */
        const { createClient, inMemory } = require('@ledgerline/client')
        test('sends', () => {${inTest(given)}})`,
    }),
    command: ['jest'],
  },
  'Vitest with jsdom': {
    packages: ['vitest@3.2.4', 'jsdom@26.1.0'],
    files: given => ({
      'app.test.js': `// @vitest-environment jsdom\nimport { expect, test } from 'vitest'\n${importing}
        test('sends', () => {${inTest(given)}})`,
    }),
    command: ['vitest', 'run'],
  },
  'Metro, as for React Native': {
    packages: ['metro@0.87.1', '@react-native/babel-preset@0.87.1', '@react-native/metro-babel-transformer@0.87.1',
      '@babel/core@7', 'ws@8'],
    files: ({ endpoint, token }) => ({
      'index.js': importing + application(endpoint, token, '{ console.log("sent", userSeq); return client.close() }'),
      'babel.config.js': 'module.exports = { presets: ["module:@react-native/babel-preset"] }',
      'metro.config.js': `module.exports = {
        resolver: { unstable_conditionNames: ['react-native'] },
        serializer: { getPolyfills: () => [] },
        transformer: { babelTransformerPath: require.resolve('@react-native/metro-babel-transformer') },
      }`,
      // What React Native has and Node.js of this version lacks.
      'phone.js': 'globalThis.WebSocket = require("ws"); require("./bundle.js")',
      'run.sh': 'metro build index.js --out bundle --platform ios --config metro.config.js && node phone.js',
    }),
    command: ['sh', 'run.sh'],
  },
}
