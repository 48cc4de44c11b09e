import t from 'tap'
import { startProcess, tokenFor } from '../faults/node-process.js'
import { browserMissing, givenBrowser } from './page.js'

t.test('In a browser, a page', { skip: browserMissing, timeout: 230_000 }, async t => {
  const directory = t.testdir({ data: {}, profile: {}, bundle: {} })
  const { open, url } = await givenBrowser(t, `${directory}/profile`, `${directory}/bundle`)
  const { port } = new URL(url)
  const node = await startProcess(t, `${directory}/data`, {
    LEDGERLINE_ALLOWED_ORIGINS: `http://app.example:${port}, http://*.wild.example:${port}`,
  })
  const ipConfig = `${node.http}/v1/ip-config`
  const endpoints = [`${node.http.replace('http', 'ws')}/v1/connect`]
  const token = await tokenFor('ann')

  for (const host of ['app.example', 'a.wild.example']) {
    for (const [what, where] of Object.entries({ ipConfig: { ipConfig }, endpoints: { endpoints } })) {
      await t.test(`of ${host}, which is allowed, talks to the gateway by its ${what}`, async t => {
        const page = await open({ kind: 'memory', token, ...where }, '', host)
        await page.event('connected')
        await page.send('from another origin')
        await page.until(({ accepted }) => accepted.length === 1)
        t.match(await page.seen(), { failures: [] })
        await page.page.close()
      })
    }
  }

  for (const [host, path] of [['evil.example', ''], ['wild.example', ''], ['127.0.0.1', ''], ['app.example', 'denied']] as const) {
    await t.test(`of ${host}/${path}, which is not allowed, gets nothing, and its client goes on trying`, async t => {
      for (const where of [{ ipConfig }, { endpoints }]) {
        const page = await open({ kind: 'memory', token, ...where }, path, host)
        await page.event('disconnected', { willReconnect: true })
        const { events } = await page.seen()
        t.notOk(events.some(({ name }) => name === 'connected'))
        await page.page.close()
      }
      const page = await open({ kind: 'memory', token, endpoints: ['ws://127.0.0.1:9/'] }, path, host)
      t.equal(await page.page.evaluate(async url => await fetch(url).then(() => 'read', err => err.name), ipConfig), 'TypeError')
      await page.page.close()
    })
  }
})
