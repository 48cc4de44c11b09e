import t from 'tap'
import { partitionOf } from '../../schemas/partitioning.js'
import { closed, opened } from '../actors/user/history.js'
import { browserMissing } from '../client/page.js'
import { nodeStarted, partitions, storeIn } from '../evidence/audit-given.js'
import { startTestNode } from '../gateway/node.js'
import { buildPages, givenBrowser, goTo, openConsole, seriousFindings, signIn } from './console-page.js'

/** A user's id as no sentence can be searched for it. */
const userId = 'ann, of room 7'

t.test('The page Audit leads from a violation to whom it is about', { skip: browserMissing, timeout: 120_000 }, async t => {
  const directory = t.testdir()
  const partition = partitionOf(userId, partitions)
  const facts = [opened('c1'), closed('c1'), closed('c1', { code: 'kicked' })]
  await storeIn(directory, {
    ledger: facts.map((fact, i) => ({ partition, offset: BigInt(i), items: [{ userId, atMs: i + 1, fact }] })),
    uplinks: [],
    connections: [],
    nodes: [{ partition: 0, offset: 0n, items: [nodeStarted] }],
  })
  buildPages()
  const node = await startTestNode(t, { LEDGERLINE_DATA: directory, LEDGERLINE_PARTITIONS: String(partitions) })
  const page = await openConsole(t, await givenBrowser(t), node.http)
  await signIn(page)
  await page.waitForSelector('h1:text-is("Overview")')
  await goTo(page, '#/audit', 'Audit')
  await page.click('button:text-is("Start the audit")')
  const row = page.locator('tr', { has: page.locator('th:text-is("closed-twice")') })
  await row.waitFor()
  t.strictSame(await seriousFindings(page), [])
  await row.getByRole('link', { name: `user ${userId}`, exact: true }).click()
  await page.waitForSelector('h1:text-is("User")')
  t.equal(new URL(page.url()).hash, `#/user/${encodeURIComponent(userId)}`)
})
