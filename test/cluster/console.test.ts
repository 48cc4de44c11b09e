import t from 'tap'
import { browserMissing } from '../client/page.js'
import { buildPages, givenBrowser, goTo, openConsole, says, seriousFindings, signIn, textOf } from '../console/console-page.js'
import { device } from '../console/given-users.js'
import { clusterMissing, givenCluster, shopSecret } from '../console/incidents/cluster.js'
import { connected } from '../gateway/edge/dialects.js'
import { signedToken, until, WebSocketClient } from '../gateway/node.js'

t.test('The console of a cluster', { skip: browserMissing || clusterMissing, timeout: 460_000 }, async t => {
  buildPages()
  const { one, two, freeze, thaw } = await givenCluster(t, `console-${process.pid}`)
  for (const user of ['ann', 'bob', 'cid']) { // they know no `migrate`
    // A node that is busy for a moment names the other one.
    await until(`${user} is let in`, () => connected(t, two, 'TCP', user).catch(() => false as const))
  }
  const context = await givenBrowser(t)
  const page = await openConsole(t, context, one.http)
  await signIn(page)
  await page.waitForSelector('h1:text-is("Overview")')

  await t.test('shows all nodes, by region, and what each counts', async t => {
    await goTo(page, '#/nodes', 'Nodes')
    await says(t, page, '[aria-label="Region eu"]', /one up/)
    await says(t, page, '[aria-label="Region us"]', /3 connections on 1 node two up/)
    await until('the connections are told', async () => (await one.request('GET', '/v1/users/cid/presence')).text.includes('"online":true'))
    t.strictSame(await seriousFindings(page), [])
    await goTo(page, '#/', 'Overview')
    await says(t, page, 'main', /The last hour, by node .*one: \d.*two: 3/)
  })

  await t.test('shows a room whose members are on another node, and what became of a post', async t => {
    const phone = await device(t, one, 'ann', 'tablet', 'ios')
    await one.request('PUT', '/v1/users/ann/rooms/lobby', { rights: 'rw' })
    await until('she is in it', async () => /"members":[1-9]/.test((await one.request('GET', '/v1/rooms/lobby')).text))
    await one.request('POST', '/v1/rooms/lobby/posts', { payload: 'hello, all', messageId: 'hello-1' })
    await goTo(page, '#/rooms', 'Rooms')
    await page.click('a:text-is("lobby")')
    await says(t, page, 'main', /1 post so far.*Last posts.*hello-1 hello, all.*Members now/)
    t.strictSame(await seriousFindings(page), [])
    await page.click('a:text-is("hello-1")')
    await says(t, page, '.verdict', /hello-1|delivered|not-reported/)
    t.match(await textOf(page, 'section[aria-labelledby=shell]'), 'ledgerline trace --room lobby --message hello-1')
    await phone.close()
  })

  await t.test('shows users of the app that is chosen', async t => {
    const client = await WebSocketClient.open(t, two, 'ledgerline.v1.json')
    const token = await signedToken({ sub: 'eve', iss: 'shop' }, { secret: shopSecret })
    client.send(JSON.stringify({ op: 'connect', token, deviceId: 'phone', sessionId: 's1' }))
    t.match(JSON.parse(String(await client.next())), { op: 'connected' })
    await goTo(page, '#/user/eve', 'User')
    await says(t, page, 'main', /No entry of the ledger is of a user eve/)
    await page.fill('.app input', 'shop')
    await page.keyboard.press('Enter')
    await says(t, page, 'main', /Connections now.*phone/)
    t.match(await textOf(page, 'section[aria-labelledby=shell]'), 'ledgerline trace eve --app shop')
    await page.fill('.app input', '')
    await page.keyboard.press('Enter')
  })

  await t.test('audits the cluster, and balances its books', async t => {
    await goTo(page, '#/audit', 'Audit')
    await page.click('button:text-is("Start the audit")')
    await says(t, page, 'main', /No violations.*downlinks.*uplinks.*connections/)
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('drains a node, with its progress and what became of each connection', async t => {
    await goTo(page, '#/nodes', 'Nodes')
    const line = page.locator('tr', { has: page.locator('th:text-is("two")') })
    await line.getByRole('button', { name: 'Drain', exact: true }).click()
    await page.click('button:text-is("Drain now")')
    await says(t, page, 'section[aria-labelledby=drain]', /of \d connections \d asked to leave/)
    // Clients that know no `migrate` stay until they are closed, or until they were silent for too long.
    await page.getByRole('heading', { name: 'What became of them' }).waitFor({ timeout: 150_000 })
    await says(t, page, 'section[aria-labelledby=drain]', /done, begun at .*What became of them.*(closed by the node|by itself).*not seen again/)
    t.strictSame(await seriousFindings(page), [])
    await line.getByRole('button', { name: 'End the drain' }).click()
    await page.click('button:text-is("End the drain now")')
    await says(t, page, '[aria-label="Region us"]', /two up/)
  })

  await t.test('tells that a node is lost', async t => {
    await goTo(page, '#/', 'Overview')
    await two.stop() // by SIGKILL
    await says(t, page, '.wrong', /Node two is (silent|lost).*has not reported within its lease.*LEDGERLINE_NODE_ID=two ledgerline start/)
  })

  await t.test('tells that the ledger is away, and that it is back', async t => {
    freeze()
    await says(t, page, '.wrong', /ledger, for .*What ends it: By itself once Kafka answers again/)
    thaw()
    await until('it is back', async () => !/ledger, for/.test(await textOf(page, '.wrong')))
  })
})
