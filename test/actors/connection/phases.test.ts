import t from 'tap'
import { eventRules, frameRules, phaseAt, phases, type TurnEnd, turnEnds } from '../../../actors/connection/phases.js'

/** Columns of the tables below, in short. */
const short: Record<string, unknown> = {
  do: 'handle',
  '-': 'ignore',
  first: { code: 'protocol', reason: 'the first frame must be connect' },
  second: { code: 'protocol', reason: 'a second connect' },
}

/** @param lines a name and what is done in each phase, by column */
function tableOf (lines: string): Record<string, unknown[]> {
  const rows = lines.trim().split('\n').map(line => line.trim().split(/\s+/))
  return Object.fromEntries(rows.map(([name, ...cells]) => {
    const server = { code: 'protocol', reason: `${name} is not for clients to send` }
    return [name, cells.map(cell => cell === 'server' ? server : cell in short ? short[cell] : cell)]
  }))
}

t.strictSame(phases, ['new', 'verifying', 'opening', 'open', 'leaving', 'closing', 'closed'])
t.strictSame(phases.map(phase => phaseAt[phase]), [0, 1, 2, 3, 4, 5, 6])

t.test('Each frame has its rule in each phase', async t => {
  t.strictSame(frameRules, tableOf(`
    connect          do     wait  wait   second  second  -  -
    uplink           first  wait  early  do      do      -  -
    downlinkAck      first  wait  wait   do      do      -  -
    downlinkSkipped  first  wait  wait   do      do      -  -
    ping             first  wait  wait   do      do      -  -
    token            first  wait  do     do      do      -  -
    join             first  wait  wait   do      do      -  -
    leave            first  wait  wait   do      do      -  -
    disconnect       first  wait  do     do      do      -  -
    unreadable       do     wait  do     do      do      -  -
    connected        first  wait  wait   server  server  -  -
    uplinkAck        first  wait  wait   server  server  -  -
    uplinkRefused    first  wait  wait   server  server  -  -
    downlink         first  wait  wait   server  server  -  -
    pong             first  wait  wait   server  server  -  -
    signal           first  wait  wait   server  server  -  -
    migrate          first  wait  wait   server  server  -  -
    redirect         first  wait  wait   server  server  -  -
    kick             first  wait  wait   server  server  -  -
    error            first  wait  wait   server  server  -  -
    tokenAccepted    first  wait  wait   server  server  -  -
    joined           first  wait  wait   server  server  -  -
    left             first  wait  wait   server  server  -  -
    post             first  wait  wait   server  server  -  -
  `))
})

t.test('Each event has its rule in each phase', async t => {
  t.strictSame(eventRules, tableOf(`
    socketClosed     do  do  after  after  after  do  -
    closeConnection  do  do  do     do     do     -   -
    fail             do  do  do     do     do     -   -
    verified         -   do  -      -      -      -   -
    sendAway         -   do  -      -      -      -   -
    notOpened        -   -   do     -      -      -   -
    welcome          -   -   do     again  again  -   -
    refuseUplink     -   -   do     do     do     -   -
    stored           -   -   do     do     do     -   -
    notStored        -   -   do     do     do     -   -
    ackUplinks       -   -   -      do     do     -   -
    deliver          -   -   -      do     do     -   -
    signal           -   -   -      do     do     -   -
    gone             -   -   -      do     do     -   -
    memberships      -   -   -      do     do     -   -
    tokenVerified    -   -   -      do     do     -   -
    tokenRefused     -   -   -      do     do     -   -
    tokenDue         -   -   -      do     do     -   -
    migrate          -   -   -      do     -      -   -
    leave            -   -   -      do     -      -   -
    stay             -   -   -      do     do     -   -
    drained          -   -   -      -      -      -   -
  `))
})

t.test('Each phase has its end of a turn', async t => {
  const rowOf = (name: keyof TurnEnd) => turnEnds.map(end => end[name])
  t.strictSame(rowOf('answers'), [false, false, false, true, true, false, false])
  t.strictSame(rowOf('finishes'), [false, false, false, false, true, false, false])
  t.strictSame(rowOf('letsGo'), [true, false, true, true, true, true, true])
  t.strictSame(rowOf('reads'), ['room', 'no', 'room', 'room', 'no', 'yes', 'yes'])
})
