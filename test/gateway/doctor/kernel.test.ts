import t from 'tap'
import { kernelFindings } from '../../../gateway/doctor/kernel.js'

/** A machine that has what docs/operations.md recommends. */
const good: Readonly<Record<string, string>> = {
  'sys/net/core/somaxconn': '4096\n',
  'sys/net/ipv4/tcp_max_syn_backlog': '8192\n',
  'sys/net/ipv4/tcp_syncookies': '1\n',
  'sys/net/ipv4/tcp_synack_retries': '5\n',
  'sys/net/ipv4/tcp_abort_on_overflow': '0\n',
  'sys/net/ipv4/tcp_mem': '786432\t1048576\t1572864\n',
  'sys/net/ipv4/tcp_keepalive_time': '300\n',
  'sys/vm/swappiness': '1\n',
  'self/limits': 'Limit                     Soft Limit           Hard Limit           Units\n' +
    'Max open files            1048576              1048576              files\n',
}

const look = (changed: Readonly<Record<string, string | undefined>>, connectionsMax = 15_000) => {
  const files = { ...good, ...changed }
  return kernelFindings({ connectionsMax }, path => files[path])
}

t.test('a machine that has what is recommended is well', async t => {
  const findings = look({})
  t.equal(findings.length, 9)
  t.strictSame(findings.filter(({ verdict }) => verdict !== 'ok'), [])
})

t.test('each value that falls short is told with what is wanted and what to type', async t => {
  const cases: ReadonlyArray<readonly [string, string, string, string]> = [
    ['net.core.somaxconn', '128', 'at least 4096', 'sysctl -w net.core.somaxconn=4096'],
    ['net.ipv4.tcp_max_syn_backlog', '512', 'at least 8192', 'sysctl -w net.ipv4.tcp_max_syn_backlog=8192'],
    ['net.ipv4.tcp_syncookies', '0', '1 to 2', 'sysctl -w net.ipv4.tcp_syncookies=1'],
    ['net.ipv4.tcp_synack_retries', '0', '1 to 5', 'sysctl -w net.ipv4.tcp_synack_retries=3'],
    ['net.ipv4.tcp_abort_on_overflow', '1', '0', 'sysctl -w net.ipv4.tcp_abort_on_overflow=0'],
    ['net.ipv4.tcp_mem', '1 2 3', 'at least 120000 pages as its third number', 'sysctl -w net.ipv4.tcp_mem=\'60000 80000 120000\''],
    ['net.ipv4.tcp_keepalive_time', '7200', '1 to 600', 'sysctl -w net.ipv4.tcp_keepalive_time=300'],
    ['vm.swappiness', '60', '0 to 10', 'sysctl -w vm.swappiness=1'],
    ['net.netfilter.nf_conntrack_max', '16384', 'at least 26596', 'sysctl -w net.netfilter.nf_conntrack_max=26596'],
    ['net.netfilter.nf_conntrack_tcp_timeout_established', '60', 'at least 3600',
      'sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=3600'],
  ]
  for (const [name, text, wanted, fix] of cases) {
    const wrong = look({ [`sys/${name.replaceAll('.', '/')}`]: `${text}\n` }).filter(({ verdict }) => verdict !== 'ok')
    t.match(wrong, [{ area: 'kernel', subject: name, verdict: 'warning', found: text, wanted, fix, why: /\w/ }], name)
    t.equal(wrong.length, 1, `${name} alone`)
  }
})

t.test('descriptors must be enough for the connections that are admitted', async t => {
  const limits = good['self/limits']!.replaceAll('1048576', '4096   ')
  const [finding] = look({ 'self/limits': limits }).filter(({ verdict }) => verdict !== 'ok')
  t.match(finding, { subject: 'open files', found: '4096', wanted: 'at least 16024', fix: /LimitNOFILE=16024/ })
})

t.test('a node that is no edge needs no room for clients', async t => {
  const subjects = look({ 'sys/net/core/somaxconn': '1' }, 0).map(({ subject, verdict }) => `${subject} ${verdict}`)
  t.strictSame(subjects, ['net.ipv4.tcp_keepalive_time ok', 'vm.swappiness ok', 'open files ok'])
})

t.test('where there is no /proc there is nothing to say', async t => {
  t.strictSame(kernelFindings({ connectionsMax: 1 }, () => undefined), [])
})
