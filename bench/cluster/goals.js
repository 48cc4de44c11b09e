/*
  What a cluster must reach: one machine with two cores, which all of its processes share, and one broker. The embedded
  gateway is compared with another build of itself.
*/

/** How long a node may be silent before it is lost; the default of `LEDGERLINE_LEASE_MS`. */
export const leaseMs = 15_000

/** @type {import('../report/rows.js').Goal[]} */
export const goals = [
  { measurement: 'latency', row: 'whole', figure: 'p50Ms', max: 5, text: '<= 5 ms' },
  { measurement: 'latency', row: 'whole', figure: 'p99Ms', max: 25, text: '<= 25 ms' },
  { measurement: 'latency', row: 'access', figure: 'p99Ms', max: 5, text: '<= 5 ms' },
  { measurement: 'saturated', row: 'cluster', figure: 'perSecond', min: 15_000, text: '>= 15,000 /s' },
  { measurement: 'client-cpu', row: 'log', figure: 'nsPerEntry', max: 8_000, text: '<= 8,000 ns' },
  { measurement: 'kill-users', row: 'acks', figure: 'ms', max: 12_000, text: '<= 12,000 ms' },
  {
    measurement: 'kill-edge',
    row: 'resumed',
    figure: 'ms',
    max: leaseMs + 15_000,
    text: `<= lease + 15 s: ${(leaseMs + 15_000).toLocaleString('en')} ms`,
  },
  {
    measurement: 'kill-edge',
    row: 'presence',
    figure: 'ms',
    max: leaseMs + 15_000,
    text: `<= lease + 15 s: ${(leaseMs + 15_000).toLocaleString('en')} ms`,
  },
  ...['embedded-1', 'embedded-16'].map(measurement => ({
    measurement, row: 'this', figure: 'perSecond', min: 0.95, toRow: 'other', text: '>= 95 % of the other build',
  })),
]
