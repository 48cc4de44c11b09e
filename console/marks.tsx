import type { PlacedMark } from '../evidence/timeline.js'
import { linkTo } from './hooks.js'
import { Table } from './parts.js'
import { timeOf } from './words.js'

const listedMax = 200

/** One mark in words, with the entry that says so and the way to its trace. */
export function MarkDetails ({ user, mark }: { readonly user: string, readonly mark: PlacedMark }) {
  const { event, position, atMs, deviceId, connectionId, messageId, seq, code, text } = mark
  const facts: ReadonlyArray<readonly [string, string]> = [
    ['entry', position], ['time', timeOf(atMs)], ['device', deviceId], ['connection', connectionId],
    ['message', messageId], ['seq', seq === 0 ? '' : String(seq)], ['code', code], ['says', text],
  ]
  return (
    <div class='details' role='status'>
      <h3>{event}</h3>
      <dl>
        {facts.filter(([, value]) => value !== '').map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
        ))}
      </dl>
      {messageId !== '' && (
        <a href={linkTo('message', '', { user, kind: 'message', id: messageId })}>What became of {messageId}</a>
      )}{' '}
      {connectionId !== '' && (
        <a href={linkTo('message', '', { user, kind: 'connection', id: connectionId })}>The life of connection {connectionId}</a>
      )}
    </div>
  )
}

/** The marks that the picture shows, in words; the newest first. */
export function MarkList ({ marks, select }: {
  readonly marks: readonly PlacedMark[], readonly select: (mark: PlacedMark) => void
}) {
  const listed = marks.slice(-listedMax).reverse()
  return (
    <section aria-labelledby='entries'>
      <h2 id='entries'>The same in words</h2>
      {marks.length > listed.length && <p class='quiet'>The newest {listed.length} of {marks.length}: zoom in for others.</p>}
      <Table label='Marks' heads={['Time', 'What', 'Device', 'Message', 'Seq', 'Says', 'Entry']}>
        {listed.map((mark, i) => {
          const { event, position, atMs, deviceId, messageId, seq, code, text } = mark
          return (
            <tr key={`${position} ${event} ${messageId} ${i}`}>
              <td class='time'>{timeOf(atMs)}</td>
              <td><button type='button' class='link' onClick={() => { select(mark) }}>{event}</button></td>
              <td>{deviceId}</td>
              <td>{messageId}</td>
              <td class='number'>{seq === 0 ? '' : seq}</td>
              <td>{[code, text].filter(part => part !== '').join(': ')}</td>
              <td>{position}</td>
            </tr>
          )
        })}
      </Table>
    </section>
  )
}
