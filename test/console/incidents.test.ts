import t from 'tap'
import { browserMissing } from '../client/page.js'
import { until } from '../gateway/node.js'
import { buildPages, givenBrowser, openConsole, says, signIn, textOf } from './console-page.js'
import { startFor } from './incidents/incident.js'
import { incidents } from './incidents/incidents.js'

t.test('The overview tells the cause of', { skip: browserMissing, timeout: 900_000 }, async t => {
  buildPages()
  const context = await givenBrowser(t)
  for (const incident of incidents) {
    const { name, plant, leads } = incident
    await t.test(name, async t => {
      const node = await startFor(t, incident)
      const page = await openConsole(t, context, node.api)
      t.teardown(() => page.close())
      await signIn(page)
      await page.waitForSelector('.chart output:text-is("0")') // what is counted from now on is seen
      // Of this alone: on a busy machine the node may have another trouble for a moment.
      await until('it is not told yet', async () => !incident.says[0]!.test(await textOf(page, '.wrong')))
      await plant(t, node)
      await says(t, page, '.wrong', ...incident.says)
      if (!leads) return
      await page.getByRole('link', { name: leads.link }).first().click()
      await page.waitForSelector(`h1:text-is("${leads.heading}")`)
      await says(t, page, 'main', ...leads.says)
    })
  }
})
