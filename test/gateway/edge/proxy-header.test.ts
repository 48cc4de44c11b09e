import t from 'tap'
import { looksLikeProxyHeader, readProxyHeader } from '../../../gateway/edge/proxy-header.js'

const signature = '0d0a0d0a 000d0a51 5549540a'
const hex = (...parts: string[]) => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const frame = '00000002 0800'

/** 192.0.2.1:56324 to 198.51.100.7:9100, then 2001:db8::1:56324 to 2001:db8::2:9100. */
const v4 = 'c0000201 c6336407 dc04 238c'
const v6 = '20010db8000000000000000000000001 20010db8000000000000000000000002 dc04 238c'

t.test('A PROXY header', async t => {
  const read = (bytes: Buffer) => {
    const beginning = readProxyHeader(bytes)
    return beginning.is === 'header' ? { ...beginning.header } : beginning.is
  }

  t.test('of version 1 names the client', async t => {
    const four = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 9100\r\n'
    t.strictSame(read(latin1(four + 'rest')), { bytes: 46, client: { ip: '192.0.2.1', port: 56_324 } })
    const six = 'PROXY TCP6 2001:db8::1 2001:db8::2 56324 9100\r\n'
    t.strictSame(read(latin1(six)), { bytes: 47, client: { ip: '2001:db8::1', port: 56_324 } })
    const widest = `PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`
    t.equal((read(latin1(widest)) as { bytes: number }).bytes, 104)
  })

  t.test('of version 1 names nobody where the proxy does not know', async t => {
    t.strictSame(read(latin1('PROXY UNKNOWN\r\n')), { bytes: 15, client: undefined })
    t.strictSame(read(latin1('PROXY UNKNOWN 192.0.2.1 \x00\x01 nothing of it counts\r\n\r\n')), { bytes: 49, client: undefined })
  })

  t.test('of version 2 names the client, and what stands behind the addresses is skipped', async t => {
    t.strictSame(read(hex(signature, '21 11 000c', v4, frame)), { bytes: 28, client: { ip: '192.0.2.1', port: 56_324 } })
    t.strictSame(read(hex(signature, '21 21 0024', v6)), { bytes: 52, client: { ip: '2001:db8::1', port: 56_324 } })
    // As a load balancer of AWS has it: PP2_TYPE_AWS with the id of an endpoint.
    const tlv = 'ea 0017 01 76706365 2d303132 33343536 37383961 62636465 6630'
    t.strictSame(read(hex(signature, '21 11 0026', v4, tlv, frame)), { bytes: 54, client: { ip: '192.0.2.1', port: 56_324 } })
  })

  t.test('of version 2 names nobody where the proxy speaks for itself, or not of TCP over IP', async t => {
    t.strictSame(read(hex(signature, '20 00 0000', frame)), { bytes: 16, client: undefined })
    t.strictSame(read(hex(signature, '20 11 000c', v4)), { bytes: 28, client: undefined }, 'LOCAL: its addresses do not count')
    t.strictSame(read(hex(signature, '21 00 0002 abcd')), { bytes: 18, client: undefined }, 'no family')
    t.strictSame(read(hex(signature, '21 31 00d8', '00'.repeat(216))), { bytes: 232, client: undefined }, 'a Unix socket')
    t.strictSame(read(hex(signature, '21 12 000c', v4)), { bytes: 28, client: undefined }, 'UDP')
  })

  t.test('may come in any pieces', async t => {
    for (const whole of [
      latin1('PROXY TCP4 192.0.2.1 198.51.100.7 56324 9100\r\n'), latin1('PROXY UNKNOWN\r\n'),
      hex(signature, '21 11 000c', v4), hex(signature, '21 21 0026', v6, 'abcd'), hex(signature, '20 00 0000'),
    ]) {
      for (let length = 0; length < whole.length; length++) t.equal(read(whole.subarray(0, length)), 'partial', `${length}`)
      t.equal((read(whole) as { bytes: number }).bytes, whole.length)
    }
  })

  t.test('is refused where it is not as it must be', async t => {
    const bad = {
      'another family': latin1('PROXY TCP5 192.0.2.1 198.51.100.7 1 2\r\n'),
      'no family': latin1('PROXY \r\n'),
      'addresses of the other family': latin1('PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n'),
      'an address with a zone': latin1('PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n'),
      'no address': latin1('PROXY TCP4 192.0.2.256 198.51.100.7 1 2\r\n'),
      'two spaces': latin1('PROXY TCP4  192.0.2.1 198.51.100.7 1 2\r\n'),
      'one port': latin1('PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n'),
      'three ports': latin1('PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n'),
      'a port out of range': latin1('PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n'),
      'a port with a zero before it': latin1('PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n'),
      'a line feed alone': latin1('PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n' + 'x'.repeat(80)),
      'an end of line that comes too late': latin1(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`),
      'no end of line': latin1(`PROXY UNKNOWN${' '.repeat(100)}`),
      'version 1 in the form of 2': hex(signature, '11 11 000c', v4),
      'another command': hex(signature, '22 11 000c', v4),
      'another family in the form of 2': hex(signature, '21 41 000c', v4),
      'another transport': hex(signature, '21 13 000c', v4),
      'too short for its addresses': hex(signature, '21 11 000b', v4),
      'too short for IPv6': hex(signature, '21 21 000c', v4),
      'more than 4,096 bytes': hex(signature, '21 11 0ff1'),
    }
    for (const [what, bytes] of Object.entries(bad)) {
      t.throws(() => readProxyHeader(bytes), { code: 'bad-frame', message: /^a bad PROXY header: / }, what)
    }
    t.equal(read(hex(signature, '21 11 0ff0')), 'partial', '4,096 bytes are not too many')
    t.equal(read(latin1(`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`)) !== 'partial', true, '107 bytes neither')
  })

  t.test('is known from what is none', async t => {
    const others = [
      hex(frame), latin1('GET / HTTP/1.1'), latin1('PROPFIND / HTTP/1.1'), latin1('PROX'.padEnd(6, 'x')), hex('16 0301'),
      latin1('\r\n\r\nGET /'), latin1('proxy TCP4'),
    ]
    for (const bytes of others) {
      t.equal(read(bytes), 'other', bytes.toString('hex'))
      t.equal(looksLikeProxyHeader(bytes), false)
    }
    t.equal(looksLikeProxyHeader(latin1('PROXY')), true)
    t.equal(looksLikeProxyHeader(hex('0d0a0d0a00')), true)
    t.equal(looksLikeProxyHeader(latin1('\r\n\r\n')), false)
  })
})
