/*
  What Ledgerline must reach, as ratios of one run: Ledgerline durable, Socket.IO storing nothing. A ratio is to
  Socket.IO's figure of the same measurement; `min` or `max` says which side of it is good.
*/

/**
 * @typedef {object} Goal
 * @property {string} measurement
 * @property {string} peer
 * @property {string} figure
 * @property {'ratio' | 'value'} of
 * @property {number} [min]
 * @property {number} [max]
 */

/** @type {Goal[]} */
export const goals = [
  { measurement: 'idle', peer: 'ledgerline-tcp', figure: 'bytes', of: 'ratio', max: 0.45 },
  { measurement: 'idle', peer: 'ledgerline-ws', figure: 'bytes', of: 'ratio', max: 0.6 },
  { measurement: 'uplinks-1', peer: 'ledgerline-tcp', figure: 'perSecond', of: 'ratio', min: 1.5 },
  { measurement: 'uplinks-1', peer: 'ledgerline-ws', figure: 'perSecond', of: 'ratio', min: 1.2 },
  { measurement: 'uplinks-16', peer: 'ledgerline-tcp', figure: 'perSecond', of: 'ratio', min: 4 },
  { measurement: 'uplinks-16', peer: 'ledgerline-ws', figure: 'perSecond', of: 'ratio', min: 2.5 },
  { measurement: 'latency', peer: 'ledgerline-tcp', figure: 'p50Ms', of: 'value', max: 1 },
  { measurement: 'latency', peer: 'ledgerline-tcp', figure: 'p99Ms', of: 'value', max: 5 },
  { measurement: 'signals', peer: 'ledgerline-ws', figure: 'perSecond', of: 'ratio', min: 1.3 },
  { measurement: 'downlinks', peer: 'ledgerline-tcp', figure: 'perSecond', of: 'value', min: 40_000 },
  { measurement: 'downlinks', peer: 'ledgerline-ws', figure: 'perSecond', of: 'value', min: 40_000 },
  { measurement: 'room', peer: 'ledgerline-ws', figure: 'perSecond', of: 'ratio', min: 2 },
  { measurement: 'rooms', peer: 'ledgerline-ws', figure: 'perSecond', of: 'ratio', min: 1.5 },
  ...['ledgerline-tcp', 'ledgerline-ws'].flatMap(peer => [
    { measurement: 'joins', peer, figure: 'perSecond', of: 'value', min: 20_000 },
    { measurement: 'joins', peer, figure: 'bytes', of: 'value', max: 100 },
  ]),
  { measurement: 'replay', peer: 'ledgerline-tcp', figure: 'perSecond', of: 'value', min: 500_000 },
  ...['ledgerline-tcp', 'ledgerline-ws'].flatMap(peer => [
    ...['jitter', 'room-jitter', 'room-restart'].flatMap(measurement => [
      // While a gateway is away nobody is complete.
      ...measurement === 'room-restart' ? [] : [{ measurement, peer, figure: 'replayP99Ms', of: 'value', max: 1_000 }],
      { measurement, peer, figure: 'deliveredShare', of: 'value', min: 1 },
      { measurement, peer, figure: 'repeats', of: 'value', max: 0 },
      { measurement, peer, figure: 'outOfOrder', of: 'value', max: 0 },
    ]),
    { measurement: 'office', peer, figure: 'backMs', of: 'value', max: 20_000 },
    { measurement: 'office', peer, figure: 'deliveredShare', of: 'value', min: 1 },
    { measurement: 'office', peer, figure: 'ended', of: 'value', max: 0 },
  ]),
]
