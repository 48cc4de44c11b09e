import { readFileSync } from 'node:fs'
import { acceptBacklog } from '../ports.js'
import { type Finding, Findings, type Wish } from './finding.js'

export interface KernelNeeds {
  /** Connections that the node admits; 0 where it is no edge. */
  readonly connectionsMax: number
}

/** A file of `/proc`, by its path there; undefined where there is none. */
export type ReadProc = (path: string) => string | undefined

interface Wanted {
  /** As `sysctl` names it. */
  readonly name: string
  /** @param values the numbers that the file has */
  isGood (values: readonly number[], needs: KernelNeeds): boolean
  wish (needs: KernelNeeds): Wish
}

/** What each is for stands in docs/operations.md, too. */
const wantedOfEdge: readonly Wanted[] = [
  atLeast('net.core.somaxconn', () => acceptBacklog,
    'The kernel keeps at most so many accepted connections for a busy process. Those beyond it are dropped.'),
  atLeast('net.ipv4.tcp_max_syn_backlog', () => 2 * acceptBacklog,
    'Handshakes under way beyond it get SYN cookies, which lose window scaling.'),
  range('net.ipv4.tcp_syncookies', 1, 2, 1, 'Without them a flood of SYNs locks every client out.'),
  range('net.ipv4.tcp_synack_retries', 1, 5, 3,
    'At 0 one lost packet fails a connect. Above 5 a half-open connection holds its place for over a minute.'),
  range('net.ipv4.tcp_abort_on_overflow', 0, 0, 0,
    'At 1 a full backlog resets clients, instead of letting them try again a moment later.'),
  {
    name: 'net.ipv4.tcp_mem',
    isGood: ([, , most = 0], { connectionsMax }) => most * pageBytes >= connectionsMax * buffersOfConnection,
    wish: ({ connectionsMax }) => {
      const pages = Math.ceil(connectionsMax * buffersOfConnection / pageBytes)
      const three = `${Math.ceil(pages / 2)} ${Math.ceil(pages * 2 / 3)} ${pages}`
      return {
        wanted: `at least ${pages} pages as its third number`,
        why: 'Past it the kernel drops packets: ' +
          `${connectionsMax} connections with 16 KiB of data each way take so much.`,
        fix: `sysctl -w net.ipv4.tcp_mem='${three}'`,
      }
    },
  },
  atLeast('net.netfilter.nf_conntrack_max', ({ connectionsMax }) => Math.ceil(connectionsMax * 1.5) + 4_096,
    'A firewall tracks each connection. Its full table drops new ones, and says so in the kernel\'s log only.'),
  atLeast('net.netfilter.nf_conntrack_tcp_timeout_established', () => 3_600,
    'A firewall forgets connections that are silent for so long, and drops what comes on them afterwards.'),
]

const wantedOfAll: readonly Wanted[] = [
  range('net.ipv4.tcp_keepalive_time', 1, 600, 300,
    'Connections to Kafka and Redis that a firewall has forgotten are found out only by keep-alive.'),
  range('vm.swappiness', 0, 10, 1,
    'A swapped heap turns a garbage collection into seconds, and a node that stands still so long is declared lost.'),
]

const pageBytes = 4_096
const buffersOfConnection = 2 * 16_384
/** Besides connections: the log, Kafka, Redis, HTTP and whoever asks what is wrong. */
const otherDescriptors = 1_024

/**
 * Looks at what the kernel allows.
 *
 * @param read of `/proc`; by default this machine's
 */
export function kernelFindings (needs: KernelNeeds, read: ReadProc = readProc): Finding[] {
  const findings = new Findings('kernel')
  const wanted = needs.connectionsMax > 0 ? [...wantedOfEdge, ...wantedOfAll] : wantedOfAll
  for (const each of wanted) {
    const text = read(`sys/${each.name.replaceAll('.', '/')}`)?.trim()
    // Conntrack and the like: what is not loaded can not be in the way.
    if (text === undefined) continue
    const values = text.split(/\s+/).map(Number)
    findings.judge(each.name, values.join(' '), each.isGood(values, needs), each.wish(needs))
  }
  lookAtDescriptors(findings, needs, read)
  return findings.all
}

function lookAtDescriptors (findings: Findings, { connectionsMax }: KernelNeeds, read: ReadProc): void {
  const [, max] = /^Max open files +(\d+|unlimited)/m.exec(read('self/limits') ?? '') ?? []
  if (max === undefined) return
  const least = connectionsMax + otherDescriptors
  findings.judge('open files', max, max === 'unlimited' || Number(max) >= least, {
    wanted: `at least ${least}`,
    why: 'Each connection takes a file descriptor. When they are short, new clients are sent away.',
    fix: `ulimit -n ${least}, or LimitNOFILE=${least} in the unit of systemd`,
  })
}

function atLeast (name: string, least: (needs: KernelNeeds) => number, why: string): Wanted {
  return {
    name,
    isGood: ([value = 0], needs) => value >= least(needs),
    wish: needs => ({ wanted: `at least ${least(needs)}`, why, fix: `sysctl -w ${name}=${least(needs)}` }),
  }
}

function range (name: string, min: number, max: number, best: number, why: string): Wanted {
  const wanted = min === max ? `${min}` : `${min} to ${max}`
  return {
    name,
    isGood: ([value = 0]) => value >= min && value <= max,
    wish: () => ({ wanted, why, fix: `sysctl -w ${name}=${best}` }),
  }
}

function readProc (path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'utf8')
  } catch {
    return undefined
  }
}
