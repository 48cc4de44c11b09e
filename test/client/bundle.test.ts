import { gzipSync } from 'node:zlib'
import t from 'tap'
import { buildBundle } from './bundle.js'

const bytesMax = 19_140

t.test('The client for browsers', async t => {
  const bundle = buildBundle(t.testdir())

  t.test('is at most 19.1 kB minified and gzipped', async t => {
    const { length } = gzipSync(bundle, { level: 9 })
    t.comment(`${length} bytes, ${Buffer.byteLength(bundle)} before gzip`)
    t.ok(length <= bytesMax, `${length} bytes`)
  })

  t.test('is one module without imports', async t => {
    t.notMatch(bundle, /\bimport\b *["'{(*]|(?<!")\bfrom *["']|\brequire\(/)
    t.match(bundle, /export\{/)
  })

  t.test('has what the documentation names', async t => {
    const exported = await import(`data:text/javascript,${encodeURIComponent(bundle)}`)
    t.strictSame(Object.keys(exported).sort(),
      ['Client', 'ClientError', 'GiveUp', 'TryLater', 'createClient', 'inDefault', 'inFile', 'inIndexedDb', 'inLocalStorage', 'inMemory'])
  })
})
