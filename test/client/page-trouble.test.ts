import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import type { Test } from 'tap'
import { request, startProcess, tokenFor } from '../faults/node-process.js'
import { browserMissing, givenBrowser, until } from './page.js'
import type { ClientPage } from './page.js'
import { givenWebSocketServer } from './websocket-server.js'

/** Processes in which pages of the browser with this profile run. */
function renderersOf (profile: string): number[] {
  const processes = readdirSync('/proc').filter(name => /^\d+$/.test(name)).flatMap(pid => {
    try {
      const [command, stat] = [readFileSync(`/proc/${pid}/cmdline`, 'utf8'), readFileSync(`/proc/${pid}/stat`, 'utf8')]
      return [{ pid, command, parent: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]! }]
    } catch {
      return [] // it has ended
    }
  })
  const ours = new Set(processes.filter(({ command }) => command.includes(profile)).map(({ pid }) => pid))
  for (let size = 0; size < ours.size;) {
    size = ours.size
    for (const { pid, parent } of processes) if (ours.has(parent)) ours.add(pid)
  }
  return processes.filter(({ pid, command }) => ours.has(pid) && command.includes('--type=renderer'))
    .map(({ pid }) => Number(pid))
}

t.test('A page', { skip: browserMissing, timeout: 230_000 }, async t => {
  const directory = t.testdir({ data: {}, profile: {}, bundle: {} })
  // Clients are silent for 1.5 s at most, so the server closes what is frozen after 7.5 s, and nobody who is only slow.
  const node = await startProcess(t, `${directory}/data`, { LEDGERLINE_HEARTBEAT_MS: '3000' })
  const { open: openPage, context, url } = await givenBrowser(t, `${directory}/profile`, `${directory}/bundle`)
  const origin = new URL(url).origin
  const ipConfig = `${node.http}/v1/ip-config`
  const open = async (kind: string, deviceId = kind) =>
    await openPage({ kind, deviceId, ipConfig, token: await tokenFor('ann') })
  const push = async (payload: string, deviceId: string) =>
    await request(node, '/v1/downlinks', { to: { userIds: ['ann'] }, payload, devices: [deviceId] })

  for (const kind of ['indexedDb', 'localStorage']) {
    await t.test(`that may not use ${kind} goes on in memory, and says so`, async t => {
      const server = await givenWebSocketServer(t)
      const page = await openPage({ kind, endpoints: [server.url], token: 'x' }, 'denied')
      await page.event('storageFailed')
      await page.send('a')
      await page.until(({ accepted, downlinks }) => accepted.length === 1 && downlinks.length === 1)
      const { events, failures } = await page.seen()
      t.strictSame(events.filter(({ name }) => name === 'disconnected'), [])
      t.strictSame(failures, [])
      await page.page.close()
    })
  }

  async function keptSession ({ page }: ClientPage): Promise<{ ackedSeq?: number }> {
    const kept = await page.evaluate('globalThis.kept()') as Array<[string, string]>
    return JSON.parse(new Map(kept).get('session') ?? '{}')
  }

  /** Ends the page and begins again in a new one, which must go on where the storage says. */
  async function goesOn (t: Test, kind: string, page: ClientPage, deviceId: string, sent: number): Promise<void> {
    await page.page.close()
    const next = await open(kind, deviceId)
    await next.event('connected')
    await next.send('last')
    await next.until(({ accepted }) => accepted.length === 1)
    const { events } = await next.seen()
    t.strictSame(events.filter(({ name }) => name === 'storageFailed' || name === 'disconnected'), [])
    t.match(await keptSession(next), { ackedSeq: sent + 1 }, 'in the same session')
    await next.page.close()
  }

  const outside: Array<[string, string, (page: ClientPage, t: Test) => Promise<unknown>]> = [
    ['indexedDb', 'deleted by another page', async (_page, t) => {
      const other = await context.newPage()
      await other.goto(`${url}away`)
      t.equal(await other.evaluate(() => new Promise(resolve => {
        const deleting = indexedDB.deleteDatabase('ledgerline:deleted by another page')
        deleting.onsuccess = () => resolve('deleted')
        deleting.onblocked = () => resolve('blocked')
      })), 'deleted', 'which is not held up')
      await other.close()
    }],
    ['indexedDb', 'cleared by the browser', async page => {
      const session = await context.newCDPSession(page.page)
      await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'indexeddb' })
    }],
    ['localStorage', 'cleared by another page', async () => {
      const other = await context.newPage()
      await other.goto(`${url}away`)
      await other.evaluate(() => localStorage.clear())
      await other.close()
    }],
  ]
  for (const [kind, what, doIt] of outside) {
    await t.test(`whose ${kind} was ${what} says so, and keeps all of it anew`, async t => {
      const deviceId = what
      const page = await open(kind, deviceId)
      await page.event('connected')
      await page.send('1')
      await page.until(({ accepted }) => accepted.length === 1)
      await doIt(page, t)
      await page.send('2')
      await page.event('storageFailed')
      await page.until(({ accepted }) => accepted.length === 2)
      await page.send('3')
      await page.until(({ accepted }) => accepted.length === 3)
      await page.page.evaluate('client.close()')
      await goesOn(t, kind, page, deviceId, 3)
    })
  }

  await t.test('without room in its storage goes on in memory, and keeps all once there is room', async t => {
    const page = await open('localStorage', 'full')
    await page.event('connected')
    await page.page.evaluate(() => {
      for (let length = 8 << 20; length > 0; length >>= 1) {
        try {
          localStorage.setItem(`filler ${length}`, 'x'.repeat(length))
        } catch {
          // What still fits is smaller.
        }
      }
    })
    await page.send('1'.repeat(10_000))
    await page.event('storageFailed')
    await page.until(({ accepted }) => accepted.length === 1)
    await page.page.evaluate(() => {
      for (const key of Object.keys(localStorage)) if (key.startsWith('filler')) localStorage.removeItem(key)
    })
    await page.send('2')
    await page.until(({ accepted }) => accepted.length === 2)
    await until(async () => (await keptSession(page)).ackedSeq === 2)
    await page.page.evaluate('client.close()')
    await goesOn(t, 'localStorage', page, 'full', 2)
  })

  await t.test('looks at its connection at once when it may have changed', async t => {
    const server = await givenWebSocketServer(t)
    const page = await openPage({ kind: 'memory', endpoints: [server.url], token: 'x' })
    await page.event('connected')
    const pings = () => server.frames.filter(({ op }) => op === 'ping').length
    for (const [i, event] of ['document "resume"', 'document "visibilitychange"', 'window "online"'].entries()) {
      const [target, name] = event.split(' ')
      await page.page.evaluate(`${target}.dispatchEvent(new Event(${name}))`)
      await until(() => pings() === i + 1)
    }
    await page.page.close()
  })

  const isOnline = async (deviceId: string) => (await request(node, '/v1/users/ann/presence')).body.sessions
    .some((each: { deviceId: string }) => each.deviceId === deviceId)

  // What DevTools call frozen is not, in a headless browser: its pages are always seen. So their processes stand still.
  await t.test('that stood still until the server gave it up has all that it missed when it goes on', async t => {
    const page = await open('memory', 'still')
    await page.event('connected')
    const pids = renderersOf(`${directory}/profile`)
    t.ok(pids.length > 0)
    const signal = (name: NodeJS.Signals) => {
      for (const pid of pids) {
        try {
          process.kill(pid, name)
        } catch {
          // It has ended.
        }
      }
    }
    t.teardown(() => signal('SIGCONT'))
    signal('SIGSTOP')
    await until(async () => !await isOnline('still'))
    await push('while it stood still', 'still')
    signal('SIGCONT')
    await page.until(({ downlinks }) => downlinks.includes('while it stood still'))
    await page.page.close()
  })

  await t.test('that comes back from the back/forward cache goes on where it was', async t => {
    const page = await open('indexedDb', 'cached')
    await page.event('connected')
    await page.send('1')
    await page.until(({ accepted }) => accepted.length === 1)
    await page.page.goto(`${url}away`)
    await until(async () => !await isOnline('cached'))
    await push('while away', 'cached')
    await page.page.goBack({ waitUntil: 'commit' })
    await page.event('pageshow', { persisted: true })
    await page.until(({ downlinks }) => downlinks.includes('while away'))
    await page.send('2')
    await page.until(({ accepted }) => accepted.length === 2)
    const { events } = await page.seen()
    t.strictSame(events.map(({ name }) => name).filter(name => name === 'connected' || name === 'disconnected'),
      ['connected', 'disconnected', 'connected'])
    t.match(events.find(({ name }) => name === 'disconnected'), { code: 'disconnected', willReconnect: true })
    await page.page.evaluate('client.close()')
    await goesOn(t, 'indexedDb', page, 'cached', 2)
  })

  await t.test('whose storage another page used while it was in the back/forward cache ends, as superseded', async t => {
    for (const isOpenStill of [true, false]) {
      const page = await open('indexedDb', `left ${isOpenStill}`)
      await page.event('connected')
      await page.page.goto(`${url}away`)
      const other = await open('indexedDb', `left ${isOpenStill}`)
      await other.event('connected')
      await other.send('1')
      await other.until(({ accepted }) => accepted.length === 1)
      if (!isOpenStill) await other.page.close()
      await page.page.goBack({ waitUntil: 'commit' })
      await page.event('pageshow', { persisted: true })
      await page.event('disconnected', { code: 'superseded', willReconnect: false })
      if (!isOpenStill) continue
      t.strictSame((await other.seen()).events.filter(({ name }) => name === 'disconnected'), [])
      await other.page.close()
    }
  })
})
