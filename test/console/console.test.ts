import t from 'tap'
import { browserMissing } from '../client/page.js'
import { startTestNode } from '../gateway/node.js'
import { buildPages, givenBrowser, openConsole, seriousFindings, signIn } from './console-page.js'

t.test('The console', { skip: browserMissing, timeout: 230_000 }, async t => {
  buildPages()
  const directory = t.testdir({ profile: {} })
  const node = await startTestNode(t)
  const context = await givenBrowser(t, `${directory}/profile`)
  const page = await openConsole(t, context, node.api)

  await t.test('lets nobody in without a key that is good', async t => {
    await page.waitForSelector('#apiKey')
    t.strictSame(await seriousFindings(page), [])
    await signIn(page, 'a-key-of-nobody')
    t.match(await page.textContent('[role=alert]'), 'unauthorized')
  })

  await t.test('shows the load of each node, and that nothing is wrong', async t => {
    await signIn(page)
    await page.waitForSelector('h1:text-is("Overview")')
    await page.waitForSelector('.good')
    await page.waitForSelector('.chart output:text-is("0")')
    t.match(await page.textContent('figcaption'), 'Connections')
    t.match(await page.textContent('.last'), 'n1')
    t.strictSame(await seriousFindings(page), [])
    if (process.env['SHOT']) await page.screenshot({ path: process.env['SHOT'], fullPage: true })
  })
})
