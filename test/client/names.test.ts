import { existsSync } from 'node:fs'
import t from 'tap'
import * as browser from '../../client/browser.js'
import * as node from '../../client/node.js'

t.test('What can not work on a platform', async t => {
  t.test('says on use what to take instead', async t => {
    t.throws(() => node.inIndexedDb('ann'), { message: /Node has no IndexedDB\. Use inFile\(path\), or inDefault\(name\)/ })
    t.throws(() => node.inLocalStorage('ann'), { message: /Node has no localStorage\. Use inFile/ })
    t.throws(() => browser.inFile('x'), { message: /no files here for x\. Use inIndexedDb\(name\), or inDefault\(name\)/ })
    const options = { getToken: () => 'token', deviceId: 'phone' }
    t.throws(() => browser.createClient({ ...options, endpoints: ['tcp://a:1'] }), { message: /tcp:\/\/ and tls:\/\/ are for Node/ })
    t.throws(() => browser.createClient({ ...options, ipConfig: 'http://a', transport: 'tcp' }), { message: /are for Node/ })
  })
})

t.test('inDefault', async t => {
  t.test('is a file in the home directory in Node, whatever the name', async t => {
    const home = t.testdir()
    const { HOME } = process.env
    process.env['HOME'] = home
    t.teardown(() => { process.env['HOME'] = HOME })
    for (const name of ['ann', '../ann/☃']) {
      const storage = node.inDefault(name)
      await storage.open(() => {})
      await storage.write(new Map([['a', name]]))
      await storage.close()
      t.ok(existsSync(`${home}/.ledgerline/${encodeURIComponent(name)}.journal`))
      t.strictSame(await storage.open(() => {}), new Map([['a', name]]))
      await storage.close()
    }
  })
})
