import t from 'tap'
import { eventRules, frameRules, phases, turnRules } from '../../../actors/connection/phases.js'

/** Columns of the tables below, in short. */
const short: Record<string, unknown> = {
  do: 'handle',
  '-': 'ignore',
  first: { code: 'protocol', reason: 'the first frame must be connect' },
  second: { code: 'protocol', reason: 'a second connect' },
  yes: true,
  no: false,
}

/** @param lines a name and what is done in each phase, by column */
function tableOf (lines: string): Record<string, Record<string, unknown>> {
  const rows = lines.trim().split('\n').map(line => line.trim().split(/\s+/))
  return Object.fromEntries(rows.map(([name, ...cells]) => {
    const server = { code: 'protocol', reason: `${name} is not for clients to send` }
    return [name, Object.fromEntries(phases.map((phase, i) => {
      const cell = cells[i]!
      return [phase, cell === 'server' ? server : cell in short ? short[cell] : cell]
    }))]
  }))
}

t.strictSame(phases, ['new', 'verifying', 'opening', 'open', 'leaving', 'closing', 'closed'])

t.test('Each frame has its rule in each phase', async t => {
  t.strictSame(frameRules, tableOf(`
    connect          do     wait  wait   second  second  -  -
    uplink           first  wait  early  do      do      -  -
    downlinkAck      first  wait  wait   do      do      -  -
    downlinkSkipped  first  wait  wait   do      do      -  -
    ping             first  wait  wait   do      do      -  -
    token            first  wait  do     do      do      -  -
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
  const { reads, ...others } = turnRules
  t.strictSame(others, tableOf(`
    answers   no   no  no   yes  yes  no   no
    finishes  no   no  no   no   yes  no   no
    letsGo    yes  no  yes  yes  yes  yes  yes
  `))
  t.strictSame(reads, {
    new: 'room', verifying: 'no', opening: 'room', open: 'room', leaving: 'no', closing: 'yes', closed: 'yes',
  })
})
