import t from 'tap'
import { AddressList, resolve, schemeOf } from '../../../gateway/edge/clients.js'
import { elementsOfForwarded, hopsOfXForwardedFor, schemesOfXForwardedProto } from '../../../gateway/edge/forwarded.js'

const hopsOfForwarded = (value: string) => elementsOfForwarded(value)?.map(({ from }) => from)

const at = (ip: string, port?: number) => ({ ip, port })

t.test('X-Forwarded-For', async t => {
  t.test('names addresses, with or without a port', async t => {
    t.strictSame(hopsOfXForwardedFor('192.0.2.1, 2001:db8::1 ,192.0.2.2:4711,[2001:db8::2]:80, [2001:db8::3]'), [
      at('192.0.2.1'), at('2001:db8::1'), at('192.0.2.2', 4711), at('2001:db8::2', 80), at('2001:db8::3'),
    ])
  })

  t.test('names nobody where it has something else', async t => {
    const others = ['', 'unknown', '192.0.2.256', '1.2.3', '[192.0.2.1]', '2001:db8::1%eth0', '192.0.2.1:', 'a, b'.slice(0, 1)]
    for (const other of others) t.strictSame(hopsOfXForwardedFor(other), [undefined], other)
  })
})

t.test('Forwarded', async t => {
  t.test('names addresses as RFC 7239 has them', async t => {
    t.strictSame(hopsOfForwarded('for=192.0.2.60;proto=http;by=203.0.113.43'), [at('192.0.2.60')])
    t.strictSame(hopsOfForwarded('For="[2001:db8:cafe::17]:4711"'), [at('2001:db8:cafe::17', 4711)])
    t.strictSame(hopsOfForwarded('for=192.0.2.43, for="192.0.2.44:80" ,for="[::1]"'),
      [at('192.0.2.43'), at('192.0.2.44', 80), at('::1')])
    t.strictSame(hopsOfForwarded('proto=https; host="a,b;for=192.0.2.9" ; for=192.0.2.1'), [at('192.0.2.1')])
    t.strictSame(hopsOfForwarded('for="\\192.0.2.1",,'), [at('192.0.2.1')])
  })

  t.test('names nobody where the proxy does not tell', async t => {
    t.strictSame(hopsOfForwarded('for=unknown, for=_hidden, for="_SEVKISEK", by=192.0.2.1'), [
      undefined, undefined, undefined, undefined,
    ])
    t.strictSame(hopsOfForwarded('for="192.0.2.1:_port"'), [undefined])
  })

  t.test('tells nothing where it can not be read', async t => {
    for (const bad of [
      'for="192.0.2.9, for=192.0.2.1', 'for=192.0.2.1;for=192.0.2.2', '192.0.2.1', 'for=', 'for=[::1]', 'for =192.0.2.1',
      'for=192.0.2.1 for=192.0.2.2', 'for="192.0.2.1"x', 'for=192.0.2.1:80',
    ]) t.equal(hopsOfForwarded(bad), undefined, bad)
  })
})

t.test('A request', async t => {
  const proxies = new AddressList(['10.0.0.0/8', '2001:db8:1::/48'])
  const clientOf = (remoteAddress: string, headers: Record<string, string>) =>
    resolve({ socket: { remoteAddress, remotePort: 1 }, headers } as never, proxies)?.ip
  const via = (forwardedFor: string, peer = '10.0.0.1') => clientOf(peer, { 'x-forwarded-for': forwardedFor })

  t.test('is of the first, from the end, who is no proxy', async t => {
    t.equal(via('192.0.2.1'), '192.0.2.1')
    t.equal(via('192.0.2.9, 192.0.2.1'), '192.0.2.1', 'what the client itself has sent does not count')
    t.equal(via('192.0.2.9, 192.0.2.1, 10.9.9.9, 2001:db8:1::5'), '192.0.2.1')
    t.equal(via('10.0.0.3, 10.0.0.2'), '10.0.0.3', 'of the farthest where all are')
    t.equal(via('192.0.2.1', '2001:db8:1::1'), '192.0.2.1')
    t.equal(via('192.0.2.1', '::ffff:10.0.0.1'), '192.0.2.1')
    t.equal(clientOf('10.0.0.1', { forwarded: 'for=192.0.2.9, for=192.0.2.1;proto=https' }), '192.0.2.1')
  })

  t.test('is of the proxy that does not tell more', async t => {
    t.equal(via('192.0.2.9, unknown'), '10.0.0.1')
    t.equal(via('192.0.2.9, unknown, 10.0.0.2'), '10.0.0.2')
    t.equal(clientOf('10.0.0.1', { forwarded: 'for=192.0.2.9, for=_hidden' }), '10.0.0.1')
  })

  t.test('is of the peer where that is no proxy, whatever it says', async t => {
    t.equal(via('192.0.2.1', '192.0.2.7'), undefined)
    t.equal(clientOf('192.0.2.7', { forwarded: 'for="' }), undefined)
    t.equal(clientOf('10.0.0.1', {}), undefined)
  })

  t.test('is refused where nobody can tell whose it is', async t => {
    const bad = { code: 'bad-request', message: /Forwarded/ }
    t.throws(() => clientOf('10.0.0.1', { forwarded: 'for="192.0.2.9, for=192.0.2.1' }), bad)
    t.throws(() => clientOf('10.0.0.1', { forwarded: 'for=192.0.2.9', 'x-forwarded-for': '192.0.2.1' }), bad)
    t.equal(clientOf('10.0.0.1', { forwarded: 'for=192.0.2.1', 'x-forwarded-for': '192.0.2.1' }), '192.0.2.1')
  })
})

t.test('How its client came to the proxies', async t => {
  const proxies = new AddressList(['10.0.0.0/8'])
  const schemeFrom = (headers: Record<string, string>, { peer = '10.0.0.1', encrypted = false } = {}) => {
    const request = { socket: { remoteAddress: peer, remotePort: 1, encrypted }, headers } as never
    resolve(request, proxies)
    return schemeOf(request)
  }

  t.test('is told by Forwarded, in what the farthest trusted one has added', async t => {
    t.equal(schemeFrom({ forwarded: 'for=192.0.2.1;proto=https' }), 'https')
    t.equal(schemeFrom({ forwarded: 'proto="HTTP";for=192.0.2.1' }), 'http')
    t.equal(schemeFrom({ forwarded: 'for=192.0.2.1;proto=https, for=10.0.0.2;proto=http' }), 'https')
    t.equal(schemeFrom({ forwarded: 'for=192.0.2.9;proto=https, for=192.0.2.1;proto=http' }), 'http', 'not what a client says')
    t.equal(schemeFrom({ forwarded: 'for=unknown;proto=wss' }), 'https')
    for (const none of ['for=192.0.2.1', 'for=192.0.2.1;proto=gopher', 'for=192.0.2.1;proto=constructor']) {
      t.equal(schemeFrom({ forwarded: none }), undefined, none)
    }
  })

  t.test('is told by X-Forwarded-Proto', async t => {
    t.strictSame(schemesOfXForwardedProto('https, WS ,x,'), ['https', 'http', undefined, undefined])
    t.equal(schemeFrom({ 'x-forwarded-proto': 'https' }), 'https')
    t.equal(schemeFrom({ 'x-forwarded-proto': 'http' }, { encrypted: true }), 'http', 'whatever the proxy itself speaks')
    t.equal(schemeFrom({ 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.1, 10.0.0.2' }), 'https')
    t.equal(schemeFrom({ 'x-forwarded-proto': 'https, http, http', 'x-forwarded-for': '192.0.2.9, 192.0.2.1, 10.0.0.2' }), 'http')
    t.equal(schemeFrom({ 'x-forwarded-proto': 'https, http', 'x-forwarded-for': '192.0.2.1' }), undefined)
    t.equal(schemeFrom({ 'x-forwarded-proto': 'https', forwarded: 'for=192.0.2.1;proto=http' }), undefined, 'by both, and not the same')
  })

  t.test('is told by nobody else', async t => {
    t.equal(schemeFrom({ 'x-forwarded-proto': 'https' }, { peer: '192.0.2.1' }), undefined)
    t.equal(schemeFrom({ 'x-forwarded-proto': 'http' }, { peer: '192.0.2.1', encrypted: true }), 'https')
    t.equal(schemeFrom({}, { encrypted: true }), 'https')
    t.equal(schemeFrom({}), undefined)
  })
})
