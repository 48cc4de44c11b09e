import { createClient, inLocalStorage } from './ledgerline-client.min.js'

const rooms = ['chat:lobby', 'chat:help', 'chat:random']
const membersEveryMs = 3_000

const at = id => document.getElementById(id)
/** By room: posts by their number, and what was written here and is not among them yet. */
const posts = new Map(rooms.map(room => [room, new Map()]))
const pending = new Map(rooms.map(room => [room, []]))
let shown = rooms[0]
let client
let signedIn
let name = ''

for (const room of rooms) {
  const button = document.createElement('button')
  button.type = 'button'
  button.textContent = `#${room.slice(room.indexOf(':') + 1)}`
  button.onclick = () => show(room)
  at('rooms').append(button)
}
at('kill').onclick = () => fetch('/kill', { method: 'POST' })
at('name').value = new URL(document.URL).searchParams.get('name') ?? ''
if (typedName()) signIn().catch(failed)

at('write').onsubmit = event => {
  event.preventDefault()
  if (!typedName()) {
    tell('give a name first', true)
    at('name').focus()
    return
  }
  signIn().catch(failed)
  const text = at('text').value.trim()
  if (text) send(text)
  at('text').value = ''
}

/** One client for the page. Its storage is of this window alone, so two windows are two devices. */
function signIn () {
  signedIn ??= begin()
  return signedIn
}

async function begin () {
  name = typedName()
  at('name').readOnly = true
  const session = () => fetch(`/session?name=${encodeURIComponent(name)}`).then(response => response.json())
  const deviceId = sessionStorage.deviceId ??= crypto.randomUUID()
  const { ipConfig } = await session()
  client = createClient({
    ipConfig, deviceId, storage: inLocalStorage(deviceId), getToken: async () => (await session()).token,
  })
  client.on('connected', () => { tell('connected', false) })
  client.on('disconnected', ({ code, willReconnect }) => {
    tell(willReconnect ? `${code}: coming back` : `ended: ${code}`, true)
  })
  for (const room of rooms) follow(room)
  client.connect()
  globalThis.chat = { client, posts, pending }
}

/** Who could not be signed in may try again. */
function failed (error) {
  signedIn = undefined
  at('name').readOnly = false
  tell(`not signed in: ${error.message}`, true)
}

function typedName () { return at('name').value.trim() }

function follow (roomId) {
  const room = client.room(roomId)
  room.on('post', post => {
    keep(roomId, post.roomSeq, post.from, new TextDecoder().decode(post.payload), post.postedAtMs)
  })
  room.on('missed', () => { readHistory(roomId) })
  readHistory(roomId)
}

/** What was posted before this page was here. Numbers say which of it the page has got meanwhile. */
async function readHistory (roomId) {
  try {
    const response = await fetch(`/rooms/${encodeURIComponent(roomId)}/posts`)
    if (!response.ok) throw new Error(response.statusText)
    const { posts } = await response.json()
    for (const { roomSeq, from, payload, postedAtMs } of posts) keep(roomId, roomSeq, from, payload, postedAtMs)
  } catch {
    setTimeout(readHistory, 1_000, roomId)
  }
}

function keep (roomId, roomSeq, from, text, postedAtMs) {
  const of = posts.get(roomId)
  if (of.has(roomSeq)) return
  of.set(roomSeq, { from, text, postedAtMs })
  if (shown === roomId) draw()
}

function send (text) {
  const of = pending.get(shown)
  const roomId = shown
  const mine = { text }
  of.push(mine)
  draw()
  // Kept and sent again until the gateway has it, whatever happens to the connection.
  signIn().then(() => client.room(roomId).post(text)).then(
    () => { of.splice(of.indexOf(mine), 1); draw() },
    error => { mine.failed = error.code ?? error.message; draw() })
}

function show (room) {
  shown = room
  draw()
  readMembers()
}

function draw () {
  for (const [i, button] of [...at('rooms').children].entries()) button.ariaCurrent = String(rooms[i] === shown)
  const sorted = [...posts.get(shown)].sort(([a], [b]) => a - b)
  const list = at('posts')
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80
  list.replaceChildren(
    ...sorted.map(([, { from, text, postedAtMs }]) => line(from || 'system', text, new Date(postedAtMs).toLocaleTimeString())),
    ...pending.get(shown).map(({ text, failed }) => line(name, text, failed ?? 'on its way', true)))
  if (atEnd) list.scrollTop = list.scrollHeight
}

function line (from, text, note, isPending = false) {
  const item = document.createElement('li')
  item.classList.toggle('mine', from === name)
  item.classList.toggle('pending', isPending)
  const who = document.createElement('strong')
  who.textContent = `${from} `
  const small = document.createElement('small')
  small.textContent = note
  const said = document.createElement('div')
  said.textContent = text
  item.append(who, small, said)
  return item
}

function tell (text, isAway) {
  at('state').textContent = text
  at('state').classList.toggle('away', isAway)
}

async function readMembers () {
  const response = await fetch(`/rooms/${encodeURIComponent(shown)}/members`).catch(() => undefined)
  if (!response?.ok) return
  const { members } = await response.json()
  const names = [...new Set(members.map(({ userId }) => userId))].sort()
  at('members').replaceChildren(...names.map(text => Object.assign(document.createElement('li'), { textContent: text })))
}

setInterval(readMembers, membersEveryMs)
show(shown)
