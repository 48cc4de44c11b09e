import t from 'tap'
import { sendToMany } from './downlinks-many.js'

t.test('One downlink request goes to 5,000 users, each of whom is told', async t => { await sendToMany(t, 5_000) })
