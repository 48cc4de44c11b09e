import type { FollowerLag } from '../gateway/lag.js'
import { appShown, ofApp } from './app.js'
import { linkTo, useAsked } from './hooks.js'
import { Table, Trouble } from './parts.js'
import { numberOf, whileOf } from './words.js'

/** Groups that read streams over HTTP, each with how far it is behind and a link to its page. */
export function Groups ({ followers }: { readonly followers: readonly FollowerLag[] }) {
  const { value, error } = useAsked<{ groups: string[] }>(ofApp('/v1/groups'), 10_000)
  return (
    <section aria-labelledby='groups'>
      <h2 id='groups'>Groups of readers</h2>
      <Trouble error={error} />
      {value?.groups.length === 0 && <p>No group reads a stream over HTTP, and none has acked anything.</p>}
      {value && value.groups.length > 0 && (
        <Table label='Groups' heads={['Group', 'Streams', 'Blocks behind', 'Oldest']}>
          {value.groups.map(group => {
            const lags = followers.filter(({ follower }) => follower === followerOf(group))
            const ms = Math.max(0, ...lags.map(({ ms }) => ms))
            return (
              <tr key={group}>
                <th scope='row'><a href={linkTo('streams', group)}>{group}</a></th>
                <td>{lags.map(({ stream }) => stream).join(', ')}</td>
                <td class='number'>{numberOf(lags.reduce((sum, { blocks }) => sum + blocks, 0))}</td>
                <td class='number'>{ms === 0 ? 'nothing waits' : whileOf(ms)}</td>
              </tr>
            )
          })}
        </Table>
      )}
    </section>
  )
}

/** By which `GET /v1/lag` names a group. */
function followerOf (group: string): string {
  const app = appShown()
  return `readers ${app === '' ? '' : `${app}/`}${group}`
}
