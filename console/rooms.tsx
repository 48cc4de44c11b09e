import { ofApp } from './app.js'
import { Endings } from './endings.js'
import { linkTo } from './hooks.js'
import { Page, Table } from './parts.js'
import { Room } from './room.js'
import type { PageProps } from './shell.js'
import { curl, numberOf, timeOf } from './words.js'

/** A line of the stream `posts`. */
interface PostLine {
  readonly roomId: string
  readonly roomSeq: number
  readonly from: string | null
  readonly postedAtMs: number
}

interface Busy {
  readonly roomId: string
  readonly authors: Set<string>
  posts: number
  lastSeq: number
  lastAtMs: number
}

/** One room, or those that had posts lately: there is no list of all rooms. */
export function RoomsPage ({ place: { id: room, query } }: PageProps) {
  const since = query.get('since') ?? '10m'
  const address = `/v1/streams/posts?${new URLSearchParams({ since }).toString()}`
  if (room !== '') return <Room room={room} query={query} />
  return (
    <Page title='Rooms' shell={[curl(ofApp(address))]}>
      <FindRoom room='' />
      <form
        class='ask' key={since} onSubmit={event => {
          event.preventDefault()
          const wanted = String(new FormData(event.currentTarget as HTMLFormElement).get('since') ?? '').trim()
          location.hash = linkTo('rooms', '', { since: wanted })
        }}
      >
        <label>
          With posts within the last
          <input name='since' required defaultValue={since} pattern='[0-9]+[smhd]' title='such as 10m, 2h, 1d' size={6} />
        </label>
        <button type='submit'>Show</button>
      </form>
      <Endings<PostLine> address={address} what={['post', 'posts']}>
        {posts => (
          <Table label='Rooms with posts' heads={['Room', 'Posts', 'Authors', 'Last number', 'Last post']}>
            {busiest(posts).map(({ roomId, posts, authors, lastSeq, lastAtMs }) => (
              <tr key={roomId}>
                <th scope='row'><a href={linkTo('rooms', roomId)}>{roomId}</a></th>
                <td class='number'>{numberOf(posts)}</td>
                <td class='number'>{numberOf(authors.size)}</td>
                <td class='number'>{numberOf(lastSeq)}</td>
                <td class='time'>{timeOf(lastAtMs)}</td>
              </tr>
            ))}
          </Table>
        )}
      </Endings>
    </Page>
  )
}

export function FindRoom ({ room }: { readonly room: string }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const wanted = String(new FormData(event.currentTarget as HTMLFormElement).get('room') ?? '').trim()
    location.hash = linkTo('rooms', wanted)
  }
  return (
    <form class='ask' role='search' onSubmit={submit}>
      <label>Room id <input key={room} name='room' required defaultValue={room} /></label>
      <button type='submit'>Look</button>
    </form>
  )
}

const roomsMax = 100

function busiest (lines: readonly PostLine[]): Busy[] {
  const rooms = new Map<string, Busy>()
  for (const { roomId, roomSeq, from, postedAtMs } of lines) {
    const room = rooms.get(roomId) ?? { roomId, posts: 0, authors: new Set(), lastSeq: 0, lastAtMs: 0 }
    rooms.set(roomId, room)
    room.posts++
    if (from !== null) room.authors.add(from)
    room.lastSeq = Math.max(room.lastSeq, roomSeq)
    room.lastAtMs = Math.max(room.lastAtMs, postedAtMs)
  }
  return [...rooms.values()].sort((a, b) => b.posts - a.posts).slice(0, roomsMax)
}
