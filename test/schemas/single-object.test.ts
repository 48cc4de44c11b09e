import t from 'tap'
import { GatewayError } from '../../schemas/errors.js'
import {
  canonicalForm, crc64Avro, fingerprintOf, headerBytes, readHeader, register, registeredSchema, writeHeader,
  type AvroSchema,
} from '../../schemas/single-object.js'

// Avro's own share/test/data/schema-tests.txt: schema, parsing canonical form, fingerprint as a signed long.
const published: [AvroSchema, string, bigint][] = [
  ['null', '"null"', 7195948357588979594n],
  ['boolean', '"boolean"', -6970731678124411036n],
  ['int', '"int"', 8247732601305521295n],
  ['long', '"long"', -3434872931120570953n],
  ['float', '"float"', 5583340709985441680n],
  ['double', '"double"', -8181574048448539266n],
  ['bytes', '"bytes"', 5746618253357095269n],
  ['string', '"string"', -8142146995180207161n],
  [[], '[]', -1241056759729112623n],
  [['int'], '["int"]', -5232228896498058493n],
  [['int', { type: 'boolean' }], '["int","boolean"]', 5392556393470105090n],
  [{ fields: [], type: 'record', name: 'foo' }, '{"name":"foo","type":"record","fields":[]}', -4824392279771201922n],
  [
    { fields: [], type: 'record', name: 'foo', namespace: 'x.y' },
    '{"name":"x.y.foo","type":"record","fields":[]}',
    5916914534497305771n,
  ],
  [
    { fields: [], type: 'record', name: 'a.b.foo', namespace: 'x.y' },
    '{"name":"a.b.foo","type":"record","fields":[]}',
    -4616218487480524110n,
  ],
  [
    { fields: [], type: 'record', name: 'foo', doc: 'Useful info' },
    '{"name":"foo","type":"record","fields":[]}',
    -4824392279771201922n,
  ],
  [
    { fields: [], type: 'record', name: 'foo', aliases: ['foo', 'bar'] },
    '{"name":"foo","type":"record","fields":[]}',
    -4824392279771201922n,
  ],
  [
    { fields: [], type: 'record', name: 'foo', doc: 'foo', aliases: ['foo', 'bar'] },
    '{"name":"foo","type":"record","fields":[]}',
    -4824392279771201922n,
  ],
  [
    { fields: [{ type: { type: 'boolean' }, name: 'f1' }], type: 'record', name: 'foo' },
    '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"}]}',
    7843277075252814651n,
  ],
  [
    { fields: [{ type: 'boolean', aliases: [], name: 'f1', default: true }, { order: 'descending', name: 'f2', doc: 'Hello', type: 'int' }], type: 'record', name: 'foo' },
    '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}',
    -4860222112080293046n,
  ],
  [
    { type: 'enum', name: 'foo', symbols: ['A1'] },
    '{"name":"foo","type":"enum","symbols":["A1"]}',
    -6342190197741309591n,
  ],
  [
    { namespace: 'x.y.z', type: 'enum', name: 'foo', doc: 'foo bar', symbols: ['A1', 'A2'] },
    '{"name":"x.y.z.foo","type":"enum","symbols":["A1","A2"]}',
    -4448647247586288245n,
  ],
  [{ name: 'foo', type: 'fixed', size: 15 }, '{"name":"foo","type":"fixed","size":15}', 1756455273707447556n],
  [
    { namespace: 'x.y.z', type: 'fixed', name: 'foo', doc: 'foo bar', size: 32 },
    '{"name":"x.y.z.foo","type":"fixed","size":32}',
    -3064184465700546786n,
  ],
  [{ items: { type: 'null' }, type: 'array' }, '{"type":"array","items":"null"}', -589620603366471059n],
  [{ values: 'string', type: 'map' }, '{"type":"map","values":"string"}', -8732877298790414990n],
  [
    { name: 'PigValue', type: 'record', fields: [{ name: 'value', type: ['null', 'int', 'long', 'PigValue'] }] },
    '{"name":"PigValue","type":"record","fields":[{"name":"value","type":["null","int","long","PigValue"]}]}',
    -1759257747318642341n,
  ],
]

t.test('canonicalForm', async t => {
  for (const [schema, canonical] of published) {
    t.equal(canonicalForm(schema), canonical, `makes ${canonical}`)
  }
  t.test('gives names inside a record the namespace of the record, and references too', async t => {
    t.equal(canonicalForm({
      type: 'record',
      name: 'A',
      namespace: 'x.y',
      fields: [{ name: 'b', type: { type: 'fixed', name: 'B', size: '8' } }, { name: 'c', type: ['null', 'B'] }],
    }), '{"name":"x.y.A","type":"record","fields":[' +
      '{"name":"b","type":{"name":"x.y.B","type":"fixed","size":8}},{"name":"c","type":["null","x.y.B"]}]}')
  })
  t.test('drops logical types', async t => {
    t.equal(canonicalForm({ type: 'long', logicalType: 'timestamp-millis' }), '"long"')
  })
})

t.test('fingerprintOf', async t => {
  for (const [schema, canonical, fingerprint] of published) {
    t.equal(BigInt.asIntN(64, fingerprintOf(schema)), fingerprint, `is the published one of ${canonical}`)
  }
  t.test('starts from the empty fingerprint', async t => {
    t.equal(crc64Avro(new Uint8Array(0)), 0xc15d213aa4d7a795n)
  })
})

t.test('the header', async t => {
  t.test('is c3 01 and the fingerprint, little-endian', async t => {
    const target = Buffer.alloc(12)
    t.equal(writeHeader(fingerprintOf('null'), target, 1), 1 + headerBytes)
    t.equal(target.toString('hex'), '00c3018a8f25cce724dd6300')
  })
  t.test('reads back', async t => {
    t.equal(readHeader(Buffer.from('c3018a8f25cce724dd63', 'hex')), 7195948357588979594n)
  })
  t.test('is refused when it is short or has another marker', async t => {
    for (const hex of ['', 'c3', 'c3018a8f25cce724dd', 'c3028a8f25cce724dd63', '00008a8f25cce724dd63']) {
      t.throws(() => readHeader(Buffer.from(hex, 'hex')), { code: 'bad-record' }, hex)
      t.throws(() => readHeader(Buffer.from(hex, 'hex')), GatewayError)
    }
  })
})

t.test('register', async t => {
  t.test('finds a schema by the fingerprint of what matters of it', async t => {
    const schema = { type: 'record', name: 'Kept', doc: 'words', fields: [] }
    t.equal(registeredSchema(fingerprintOf(schema)), undefined)
    register(schema)
    t.equal(registeredSchema(fingerprintOf({ type: 'record', name: 'Kept', fields: [] })), schema)
  })
})
