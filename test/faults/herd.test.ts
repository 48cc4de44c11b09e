import t from 'tap'
import { killUnderHerd } from './herd.js'

t.test('1,000 clients that are dropped at once', { timeout: 450_000 }, t => killUnderHerd(t, 1_000))
