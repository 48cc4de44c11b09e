import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { GroupReaderClient } from '../gateway/group-reader.js'
import { startTestNode, until } from '../gateway/node.js'
import { buildPages, givenBrowser, goTo, openConsole, signIn, textOf } from './console-page.js'
import { device, givenAnn } from './given-users.js'
import { clusterMissing, givenCluster } from './incidents/cluster.js'
import { startFor } from './incidents/incident.js'
import { incidents } from './incidents/incidents.js'

/*
  Makes the pictures that docs/console.md and docs/debugging.md show, from pages of gateways that run:

    npm run console:screenshots            all of them; those of a cluster where Kafka and Redis are installed
    npm run console:screenshots NAME ...   those of these incidents alone
*/

const folder = fileURLToPath(new URL('../../../docs/images/', import.meta.url))
const size = { width: 1_000, height: 640 }
const options = { viewport: size, colorScheme: 'light' as const }
const wanted = process.argv.slice(2)

/** For lines to be lines. */
const chartMs = 30_000

function isWanted (name: string): boolean { return wanted.length === 0 || wanted.includes(name) }

mkdirSync(folder, { recursive: true })

t.test('The screenshots of the pages', { timeout: 230_000, skip: !isWanted('pages') }, async t => {
  buildPages()
  const node = await startTestNode(t)
  await givenAnn(t, node)
  const context = await givenBrowser(t, options)
  const page = await openConsole(t, context, node.api)
  const shoot = async (name: string) => {
    await page.waitForLoadState('networkidle')
    await page.screenshot({ path: `${folder}console-${name}.png` })
  }
  await signIn(page)
  await goTo(page, '#/', 'Overview')
  await page.waitForSelector('.chart')
  // Of somebody else: the pictures of Ann are to stay readable.
  const talker = await device(t, node, 'bob', 'phone', 'android')
  for (const untilMs = Date.now() + chartMs; Date.now() < untilMs;) {
    await talker.send('hello')
    await node.push('bob', 'hello')
    await page.waitForTimeout(20 + 200 * Math.random())
  }
  await shoot('overview')
  const reader = await GroupReaderClient.open(t, node.api, 'crm')
  for (const id of ['hello-1', 'hello-2']) {
    await node.request('POST', '/v1/rooms/lobby/posts', { payload: 'hello', messageId: id })
  }
  await until('the group has both', () => reader.posts.length === 2)
  await goTo(page, '#/streams/crm', 'Group crm')
  await page.waitForSelector('[aria-label="Readers of the group"]')
  await shoot('group')
  await goTo(page, '#/message?user=ann&kind=message&id=order-2', 'Message')
  await page.waitForSelector('.step')
  await shoot('message')
  await goTo(page, '#/user/ann', 'User')
  await page.waitForSelector('.mark')
  await page.click('.mark[data-event=closed] .reach')
  await page.locator('section[aria-labelledby=timeline]').screenshot({ path: `${folder}console-timeline.png` })
})

t.test('The screenshots of incidents', { timeout: 700_000 }, async t => {
  buildPages()
  const context = await givenBrowser(t, options)
  const wrong = 'section[aria-labelledby=wrong]'
  for (const incident of incidents.filter(({ name }) => isWanted(name))) {
    const { name, plant, says, leads } = incident
    await t.test(name, async t => {
      const node = await startFor(t, incident)
      const page = await openConsole(t, context, node.api)
      t.teardown(() => page.close())
      await signIn(page)
      await page.waitForSelector('.chart output:text-is("0")')
      await plant(t, node)
      await until('it is told', async () => says[0]!.test(await textOf(page, '.wrong')))
      const told = page.locator('.wrong li', { hasText: says[0]! })
      await told.screenshot({ path: `${folder}incident-${name}.png` })
      if (leads?.heading !== 'Ended connections') return
      await told.getByRole('link', { name: leads.link }).click()
      await page.waitForSelector('section[aria-labelledby=common]')
      await page.locator('section[aria-labelledby=common]').screenshot({ path: `${folder}incident-${name}-who.png` })
    })
  }

  await t.test('of a cluster', { skip: clusterMissing || !(isWanted('lost-node') || isWanted('ledger-away')) }, async t => {
    const { one, two, freeze } = await givenCluster(t, `screenshots-${process.pid}`)
    const page = await openConsole(t, context, one.http)
    const shoot = async (name: string, words: RegExp) => {
      await until(`${name} is told`, async () => words.test(await textOf(page, wrong)))
      await page.locator('.wrong li', { hasText: words }).first().screenshot({ path: `${folder}incident-${name}.png` })
    }
    await signIn(page)
    await goTo(page, '#/', 'Overview')
    await two.stop()
    await shoot('lost-node', /Node two is/)
    freeze()
    await shoot('ledger-away', /ledger, for/)
  })
})
