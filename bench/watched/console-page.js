/*
  The console's page Overview in a browser, until SIGTERM.

    node console-page.js URL API_KEY
*/
import { chromium } from 'playwright-core'
import { browserPath, flags } from '../../dist/test/client/page.js'

const [url, apiKey] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath: browserPath, args: flags })
process.once('SIGTERM', async () => {
  await browser.close()
  process.exit()
})
const page = await browser.newPage()
await page.goto(`${url}/console`)
await page.fill('#apiKey', apiKey)
await page.click('button[type=submit]')
await page.waitForSelector('.chart output')
console.log(JSON.stringify({ title: await page.title() }))
