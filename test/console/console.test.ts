import t from 'tap'
import { browserMissing } from '../client/page.js'
import { startTestNode, until } from '../gateway/node.js'
import { GroupReaderClient } from '../gateway/group-reader.js'
import { buildPages, givenBrowser, goTo, openConsole, says, seriousFindings, signIn } from './console-page.js'
import { givenAnn, stepIs } from './given-users.js'

const everyPage = [
  ['#/', 'Overview'],
  ['#/message?user=ann&kind=message&id=offer-1', 'Message'],
  ['#/user/ann', 'User'],
  ['#/nodes', 'Nodes'],
  ['#/rooms', 'Rooms'],
  ['#/rooms/lobby', 'Rooms'],
  ['#/ends', 'Ended connections'],
  ['#/receipts', 'Ended downlinks'],
  ['#/streams', 'Streams'],
  ['#/streams/crm', 'Group crm'],
  ['#/audit', 'Audit'],
  ['#/bans/ann', 'Bans'],
  ['#/keys', 'API keys'],
] as const

t.test('The console', { skip: browserMissing, timeout: 460_000 }, async t => {
  buildPages()
  const keysFile = `${t.testdir({ 'keys.json': '{ "keys": [] }' })}/keys.json`
  const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: keysFile })
  const context = await givenBrowser(t)
  await givenAnn(t, node)
  const page = await openConsole(t, context, node.api)
  const text = async (selector: string) => (await page.textContent(selector))?.replace(/\s+/g, ' ') ?? ''

  await t.test('lets nobody in without a key that is good', async t => {
    await page.waitForSelector('#apiKey')
    t.strictSame(await seriousFindings(page), [])
    await signIn(page, 'a-key-of-nobody')
    t.match(await text('[role=alert]'), 'unauthorized')
  })

  await t.test('shows the load of each node, and that nothing is wrong', async t => {
    await signIn(page)
    await page.waitForSelector('h1:text-is("Overview")')
    await page.waitForSelector('.good')
    t.match(await text('.who'), 'key of LEDGERLINE_API_KEYS')
    await page.waitForSelector('.chart output:text-is("1")', { timeout: 30_000 }) // the phone
    t.match(await text('figcaption'), 'Connections')
    t.match(await text('.last'), 'n1: 1')
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('tells what became of a message, step by step, and what to do', async t => {
    await goTo(page, '#/message', 'Message')
    await page.fill('[name=user]', 'ann')
    await page.fill('[name=id]', 'order-1')
    await page.click('form.ask button')
    await page.waitForSelector('.verdict.good')
    t.match(await text('.verdict h2'), /^acked/)
    t.strictSame(await page.$$eval('.step strong', steps => steps.map(({ textContent }) => textContent)),
      ['requested', 'sent', 'written', 'acked'])
    t.equal(await text('main > section:last-child code'), 'ledgerline trace ann --message order-1')
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('sends a message again, and shows the command first', async t => {
    await goTo(page, '#/message?user=ann&kind=message&id=offer-1', 'Message')
    await page.waitForSelector('.verdict.bad h2')
    t.match(await text('.verdict h2'), /^expired/)
    await page.click('button:text-is("Send again to phone")')
    t.equal(await text('.confirm code'), 'ledgerline redeliver ann --device phone --from 3 --to 3')
    t.notOk((await node.request('GET', '/v1/users/ann/timeline')).text.includes('redelivered'), 'nothing is done yet')
    await page.click('button:text-is("Send again to phone now")')
    await page.waitForSelector('.step.redelivered')
    await stepIs(node, 'offer-1', 'acked', 2)
  })

  await t.test('draws what happened to a user, and tells the entry of each mark', async t => {
    await goTo(page, '#/user/ann', 'User')
    await page.waitForSelector('.picture svg .mark')
    t.strictSame(await page.$$eval('.picture text.lane', lanes => lanes.map(({ textContent }) => textContent)),
      ['the user', 'phone (ios)', 'tablet (android)'])
    const drawn = await page.$$eval('.mark', marks => marks.map(mark => mark.getAttribute('data-event')))
    const { json } = await node.request('GET', '/v1/users/ann/timeline')
    const { marks } = json as { marks: Array<{ event: string, position: string, messageId: string }> }
    t.strictSame(drawn.toSorted(), marks.map(({ event }) => event).toSorted(), 'each mark once')
    await page.click('.mark[data-event=redelivered] .reach')
    t.match(await text('.details'), marks.find(({ event }) => event === 'redelivered')!.position)
    await page.focus('.picture')
    await page.keyboard.press('+')
    await until('fewer marks are shown', async () => (await page.$$('.mark')).length < drawn.length)
    await page.keyboard.press('0')
    await until('all are shown', async () => (await page.$$('.mark')).length === drawn.length)
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('shows the state at any entry, and what that entry changed', async t => {
    await page.click('.mark[data-event=closed] .reach')
    await page.waitForSelector('.changes .removed:has-text("connections")')
    const { json } = await node.request('GET', '/v1/users/ann/timeline')
    const { marks } = json as { marks: Array<{ event: string, position: string }> }
    const { position } = marks.find(({ event }) => event === 'closed')!
    t.match(await text('#state ~ .command code'), `ledgerline state ann --at ${position}`)
    t.match(await text('[aria-label=Sessions]'), /tablet.*offline.*order-2/)
    await page.focus('.slider input')
    await page.keyboard.press('Home')
    await page.waitForSelector('p:has-text("0 uplinks accepted so far")')
  })

  await t.test('kicks a connection', async t => {
    await page.click('button:text-is("Kick")')
    t.match(await text('.confirm code'), /^curl -X DELETE .*\/v1\/connections\//)
    await page.click('button:text-is("Kick now")')
    await page.waitForSelector('p:has-text("Offline, seen last at")', { timeout: 30_000 })
    t.equal(await node.closed('kicked'), 1)
  })

  await t.test('keeps a user out, and lets him in again', async t => {
    await goTo(page, '#/bans/ann', 'Bans')
    await page.click('button:text-is("Ban")')
    await page.click('button:text-is("Ban now")')
    await page.waitForSelector('text="Lift"')
    t.match((await node.request('GET', '/v1/users/ann/bans')).json, { bans: [{ reason: 'banned' }] })
    t.strictSame(await seriousFindings(page), [])
    await page.click('button:text-is("Lift")')
    await page.click('button:text-is("Lift now")')
    await page.waitForSelector('text="No ban of ann is in force."')
  })

  await t.test('shows nodes and streams; a drain that can not be says why', async t => {
    await goTo(page, '#/nodes', 'Nodes')
    t.match(await text('tbody tr'), /^n1local(up)/)
    await page.click('button:text-is("Drain")')
    t.equal(await text('.confirm code'), 'ledgerline drain n1 --within 60s')
    await page.click('button:text-is("Drain now")')
    t.match(await text('.confirm [role=alert]'), 'bad-request')
    t.strictSame(await seriousFindings(page), [])
    await goTo(page, '#/streams', 'Streams')
    await page.waitForSelector('[aria-label=Streams] th:text-is("ledger")')
    await page.waitForSelector('[aria-label=Followers] th:text-is("users")')
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('shows groups of readers, and of one its lag, nodes and readers; forgets one that nobody reads in', async t => {
    const reader = await GroupReaderClient.open(t, node.api, 'crm')
    await node.request('POST', '/v1/rooms/lobby/posts', { payload: 'hello', messageId: 'hello-1' })
    await until('the group has a post', () => reader.posts.length === 1)
    await goTo(page, '#/streams', 'Streams')
    await says(t, page, '[aria-label=Groups]', /crm posts 1 \d/)
    t.match(await text('section[aria-labelledby=shell]'), '/v1/groups')
    t.strictSame(await seriousFindings(page), [])
    await page.click('[aria-label=Groups] a:text-is("crm")')
    await page.waitForSelector('h1:text-is("Group crm")')
    await says(t, page, 'main', /readers crm posts 1 .*Nodes that read for it.*n1 posts .*Readers on node n1.*posts .* bytes/)
    t.match(await text('section[aria-labelledby=shell]'), '/v1/groups/crm')
    t.strictSame(await seriousFindings(page), [])
    const forget = async () => {
      await page.click('button:text-is("Forget how far it is")')
      t.match(await text('.confirm code'), /^curl -X DELETE .*\/v1\/groups\/crm$/)
      await page.click('button:text-is("Forget how far it is now")')
    }
    await forget()
    await says(t, page, '.confirm', /has-readers/)
    await page.click('button:text-is("do not")')
    await reader.ackAll()
    await says(t, page, '[aria-label=Followers]', /readers crm posts 0 nothing waits/)
    reader.leave()
    await says(t, page, 'main', /None: the group has no readers now/)
    await forget()
    await page.waitForSelector('text="It is forgotten."')
    t.strictSame((await node.request('GET', '/v1/groups')).json, { groups: [] })
  })

  await t.test('shows ended connections, and what they have in common', async t => {
    await goTo(page, '#/ends', 'Ended connections')
    await page.waitForSelector('[aria-label="Ended connections"] td:has-text("kicked")')
    t.match(await text('section[aria-labelledby=common]'), /user100 % ann/)
    t.strictSame(await seriousFindings(page), [])
    await goTo(page, '#/ends?code=kicked&since=1h', 'Ended connections')
    await page.waitForSelector('text="1 connection that ended."')
    t.match(await text('section[aria-labelledby=shell]'), 'ledgerline history --code kicked --since 1h')
    await goTo(page, '#/receipts?code=acked&since=1h', 'Ended downlinks')
    await page.waitForSelector('[aria-label="Ended downlinks"] a:text-is("offer-1")')
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('audits the gateway, with its books', async t => {
    await goTo(page, '#/audit', 'Audit')
    await page.click('button:text-is("Start the audit")')
    await page.waitForSelector('.verdict.good h2:text-is("No violations")')
    t.match(await text('.books'), /downlinks.*requested.*difference0/)
    t.strictSame(await seriousFindings(page), [])
  })

  await t.test('makes an API key, shows it once, and revokes it', async t => {
    await goTo(page, '#/keys', 'API keys')
    await page.fill('form.ask [name=name]', 'shop')
    await page.click('button:text-is("Make the key")')
    t.equal(await text('.confirm code'), 'ledgerline keys create --name shop --scopes push,read --expires 90d')
    await page.click('button:text-is("Make the key now")')
    await page.waitForSelector('div[role=status] code:has-text("ll_")')
    const key = await text('div[role=status] code')
    const headers = { authorization: `Bearer ${key}` }
    const read = async () => (await fetch(`${node.api}/v1/nodes`, { headers })).status
    t.equal(await read(), 200)
    t.strictSame(await seriousFindings(page), [])
    await page.click('tr:has-text("shop") button:text-is("Revoke")')
    await page.click('button:text-is("Revoke now")')
    await page.waitForSelector('tr.away:has-text("shop"):has-text("revoked")')
    t.equal(await read(), 401)
  })

  await t.test('has nothing wider than a small screen, and is as readable in the dark', async t => {
    await page.setViewportSize({ width: 360, height: 740 })
    await page.emulateMedia({ colorScheme: 'dark' })
    for (const [hash, heading] of everyPage) {
      await goTo(page, hash, heading)
      await page.waitForLoadState('networkidle')
      t.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), heading)
      t.strictSame(await seriousFindings(page), [], heading)
    }
  })

  await t.test('has no serious finding on any page in the light either', async t => {
    await page.emulateMedia({ colorScheme: 'light' })
    for (const [hash, heading] of everyPage) {
      await goTo(page, hash, heading)
      await page.waitForLoadState('networkidle')
      t.strictSame(await seriousFindings(page), [], heading)
    }
    t.strictSame(new Set(everyPage.map(([hash]) => hash.split(/[/?]/)[1])),
      new Set(await page.$$eval('nav a', links => links.map(link => link.getAttribute('href')!.slice(2)))), 'that is all of them')
  })

  await t.test('is over for whoever signs out', async t => {
    await page.click('button:text-is("Sign out")')
    await page.waitForSelector('#apiKey')
    await page.reload()
    await page.waitForSelector('#apiKey')
    t.strictSame(await context.cookies(), [])
  })
})
