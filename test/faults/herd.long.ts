import t from 'tap'
import { killUnderHerd } from './herd.js'

// On a machine that has more to do the kernel's queues overflow, and answers come too late for some.
t.test('5,000 clients that are dropped at once', { timeout: 1_200_000 }, t =>
  killUnderHerd(t, 5_000, { isMoreThanItTakes: true }))
