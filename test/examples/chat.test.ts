import type { Page } from 'playwright-core'
import t from 'tap'
import { browserMissing } from '../client/page.js'
import { isConnected, killGateway, posted, say, showsMembers, showsPosts, startChat } from './chat-page.js'

t.test('The example of a chat, in two windows', { skip: browserMissing, timeout: 230_000 }, async t => {
  const chat = await startChat(t)
  const sees = async (page: Page, texts: string[]) => {
    await showsPosts(page, texts.length)
    t.strictSame(await posted(page), texts)
  }

  const ann = await chat.openWindow('ann')
  await say(ann, 'hello?')
  await sees(ann, ['hello?'])
  const bob = await chat.openWindow('bob')
  await sees(bob, ['hello?'])
  await say(bob, 'hello!')
  await sees(ann, ['hello?', 'hello!'])
  await sees(bob, ['hello?', 'hello!'])
  await showsMembers(ann, 2)

  await t.test('nothing is lost where the gateway is killed', async () => {
    await killGateway(ann)
    await say(ann, 'are you still there?')
    const both = ['hello?', 'hello!', 'are you still there?']
    await sees(bob, both)
    await say(bob, 'I am')
    await sees(ann, [...both, 'I am'])
    await sees(bob, [...both, 'I am'])
  })

  await t.test('who opens the page later reads what was said', async () => {
    await bob.reload()
    await isConnected(bob)
    await sees(bob, ['hello?', 'hello!', 'are you still there?', 'I am'])
  })

  await t.test('who sends without a name is asked for it, and what was written is sent then', async t => {
    const cyd = await chat.openEmpty()
    await cyd.fill('#name', ' ')
    await say(cyd, 'me, too')
    t.equal(await cyd.textContent('#state'), 'give a name first')
    t.equal(await cyd.evaluate('document.activeElement.id'), 'name')
    await cyd.fill('#name', 'cyd')
    await cyd.press('#name', 'Enter')
    const all = ['hello?', 'hello!', 'are you still there?', 'I am', 'me, too']
    await sees(bob, all)
    await sees(cyd, all)
  })
})
