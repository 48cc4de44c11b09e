import t from 'tap'
import { networkOf } from '../../../gateway/edge/network.js'

t.test('An address counts', async t => {
  t.test('for itself when it is IPv4', async t => {
    t.equal(networkOf('192.0.2.1'), '192.0.2.1')
    t.not(networkOf('192.0.2.1'), networkOf('192.0.2.2'))
  })

  t.test('as IPv4 when it only looks like IPv6', async t => {
    for (const ip of ['::ffff:192.0.2.1', '::FFFF:192.0.2.1', '::ffff:c000:201', '0:0:0:0:0:ffff:c000:201']) {
      t.equal(networkOf(ip), '192.0.2.1', ip)
    }
  })

  t.test('for its /64 when it is IPv6, however it is written', async t => {
    const written = ['2001:db8:1:2::1', '2001:db8:1:2:ffff::', '2001:0DB8:0001:0002:a:b:c:d', '2001:db8:1:2::192.0.2.1',
      '2001:db8:1:2::1%eth0']
    for (const ip of written) t.equal(networkOf(ip), '2001:db8:1:2::/64', ip)
    t.equal(networkOf('2001:db8:1:3::1'), '2001:db8:1:3::/64')
    t.equal(networkOf('::1'), '0:0:0:0::/64')
    t.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
  })

  t.test('for itself when it is none', async t => {
    for (const ip of ['', 'a:b', '1:2:3:4:5:6:7:8:9']) t.equal(networkOf(ip), ip)
  })
})
