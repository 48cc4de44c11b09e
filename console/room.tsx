import type { RoomTrace } from '../evidence/rooms/trace.js'
import type { RoomInfo } from '../gateway/room-questions.js'
import type { JsonPayload } from '../schemas/payload.js'
import { adviceForPost } from './advice.js'
import { path } from './api.js'
import { appCommand, ofApp } from './app.js'
import { useLines } from './endings.js'
import { linkTo, useAsked } from './hooks.js'
import { Page, Table, Trouble } from './parts.js'
import { FindRoom } from './rooms.js'
import { Steps } from './steps.js'
import { countOf, curl, numberOf, timeOf } from './words.js'

interface MembersAnswer {
  readonly members: ReadonlyArray<Record<'userId' | 'deviceId' | 'connectionId' | 'nodeId', string>>
  readonly total: number
  /** Nodes that do not answer. */
  readonly unknown: readonly string[]
}

interface PostLine {
  readonly roomSeq: number
  readonly messageId: string
  readonly from: string | null
  readonly service: string
  readonly payload: JsonPayload
  readonly postedAtMs: number
}

const postsMax = 50

/** A room: how far it is, its nodes, its members, its last posts, and what became of one of them. */
export function Room ({ room, query }: { readonly room: string, readonly query: URLSearchParams }) {
  const post = query.get('post') ?? ''
  const info = useAsked<RoomInfo & { readonly members: number }>(ofApp(path`/v1/rooms/${room}`), 5_000)
  const members = useAsked<MembersAnswer>(ofApp(path`/v1/rooms/${room}/members`), 5_000)
  const lastSeq = info.value?.roomSeq ?? 0
  const shell = [
    appCommand('state', '--room', room), curl(ofApp(path`/v1/rooms/${room}`)), curl(ofApp(path`/v1/rooms/${room}/members`)),
    ...post === '' ? [] : [appCommand('trace', '--room', room, '--message', post)],
  ]
  return (
    <Page title='Rooms' shell={shell}>
      <FindRoom room={room} />
      <Trouble error={info.error ?? members.error} />
      {info.value && <Info room={room} info={info.value} />}
      {post !== '' && <PostTrace room={room} post={post} />}
      {lastSeq > 0 && <Posts key={lastSeq} room={room} lastSeq={lastSeq} />}
      {members.value && <Members answer={members.value} />}
    </Page>
  )
}

function Info ({ room, info }: { readonly room: string, readonly info: RoomInfo & { readonly members: number } }) {
  const { roomSeq, keptAfter, closed, nodes, members } = info
  return (
    <section aria-labelledby='room'>
      <h2 id='room'>{room}</h2>
      <p role='status'>
        {closed ? 'It is closed: nobody joins it or posts in it. ' : ''}
        {roomSeq === 0
          ? 'It has had no post.'
          : `${countOf(roomSeq, 'post')} so far; those after ${numberOf(keptAfter)} are kept for who joins.`}
        {' '}{countOf(members, 'member')} on {countOf(nodes.length, 'node')}.
      </p>
      {nodes.length > 0 && (
        <Table label='Nodes of the room' heads={['Node', 'Members']}>
          {nodes.map(({ nodeId, members }) => (
            <tr key={nodeId}>
              <th scope='row'>{nodeId}</th>
              <td class='number'>{members === null ? 'it does not answer' : numberOf(members)}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  )
}

function PostTrace ({ room, post }: { readonly room: string, readonly post: string }) {
  const { value, error } = useAsked<RoomTrace>(
    ofApp(`${path`/v1/rooms/${room}/trace`}?${new URLSearchParams({ post }).toString()}`))
  const advice = value && adviceForPost(value.verdict)
  return (
    <>
      <Trouble error={error} />
      {value && advice && (
        <section class={`verdict ${advice.tone}`} aria-labelledby='verdict'>
          <h2 id='verdict'>{value.verdict.code}{value.verdict.cause === '' ? '' : `, ${value.verdict.cause}`}</h2>
          <p>{value.verdict.text}</p>
          <p><em>What to do:</em> {advice.text}</p>
          {value.steps.length > 0 && <Steps steps={value.steps} />}
        </section>
      )}
    </>
  )
}

/** The last ones, the newest first. */
function Posts ({ room, lastSeq }: { readonly room: string, readonly lastSeq: number }) {
  const after = String(Math.max(0, lastSeq - postsMax))
  const { lines, error } = useLines<PostLine>(ofApp(`${path`/v1/rooms/${room}/posts`}?after=${after}`))
  const posts = lines?.filter(({ roomSeq }) => roomSeq !== undefined).toReversed() ?? []
  return (
    <section aria-labelledby='posts'>
      <h2 id='posts'>Last posts</h2>
      <Trouble error={error} />
      <Table label='Posts' heads={['Number', 'Time', 'From', 'Service', 'Message', 'Payload']}>
        {posts.map(({ roomSeq, messageId, from, service, payload, postedAtMs }) => (
          <tr key={roomSeq}>
            <td class='number'>{roomSeq}</td>
            <td class='time'>{timeOf(postedAtMs)}</td>
            <td>{from === null ? 'business' : <a href={linkTo('user', from)}>{from}</a>}</td>
            <td>{service}</td>
            <td><a href={linkTo('rooms', room, { post: messageId })}>{messageId}</a></td>
            <td class='payload'>{textOf(payload)}</td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

const textMax = 200

function textOf (payload: JsonPayload): string {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  return text.length > textMax ? `${text.slice(0, textMax)}…` : text
}

function Members ({ answer: { members, total, unknown } }: { readonly answer: MembersAnswer }) {
  return (
    <section aria-labelledby='members'>
      <h2 id='members'>Members now</h2>
      {total > members.length && <p class='quiet'>The first {members.length} of {numberOf(total)}.</p>}
      {unknown.length > 0 && <p class='error'>These nodes do not answer: {unknown.join(', ')}.</p>}
      {members.length === 0 && <p>Nobody is in it.</p>}
      {members.length > 0 && (
        <Table label='Members' heads={['User', 'Device', 'Connection', 'Node']}>
          {members.map(({ userId, deviceId, connectionId, nodeId }) => (
            <tr key={connectionId}>
              <td><a href={linkTo('user', userId)}>{userId}</a></td>
              <td>{deviceId}</td>
              <td>
                <a href={linkTo('message', '', { user: userId, kind: 'connection', id: connectionId })}>{connectionId}</a>
              </td>
              <td>{nodeId}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  )
}
