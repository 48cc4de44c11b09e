import t from 'tap'
import { browserMissing } from '../client/page.js'
import { until } from '../gateway/node.js'
import { buildPages, givenBrowser, openConsole, signIn, textOf } from './console-page.js'
import { startFor } from './incidents/incident.js'
import { incidents } from './incidents/incidents.js'

/** How long the console may take to see it: reports, samples and questions of the page come after one another. */
const withinMs = 30_000

t.test('The overview tells the cause of', { skip: browserMissing, timeout: 460_000 }, async t => {
  buildPages()
  const context = await givenBrowser(t)
  for (const incident of incidents) {
    const { name, plant, says, leads } = incident
    await t.test(name, async t => {
      const node = await startFor(t, incident)
      const page = await openConsole(t, context, node.api)
      t.teardown(() => page.close())
      await signIn(page)
      await page.waitForSelector('.good:has-text("Nothing that node n1 knows of")')
      await page.waitForSelector('.chart output:text-is("0")') // what is counted from now on is seen
      await plant(t, node)
      for (const words of says) {
        await page.getByText(words).first().waitFor({ timeout: withinMs }).catch(() => {})
        t.match(await textOf(page, '.wrong'), words)
      }
      if (!leads) return
      await page.getByRole('link', { name: leads.link }).first().click()
      await page.waitForSelector(`h1:text-is("${leads.heading}")`)
      // The page is there before the answers to what it asks.
      for (const words of leads.says) {
        await until(`the page says ${words}`, async () => words.test(await textOf(page, 'main')))
        t.match(await textOf(page, 'main'), words)
      }
    })
  }
})
