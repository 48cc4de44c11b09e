import t from 'tap'
import { Random } from '../../simulation/random.js'
import { Broker } from '../../simulation/stores/broker.js'
import { SimulatedLog } from '../../simulation/stores/log.js'
import { World } from '../../simulation/world.js'
import { collector, note, noteStream } from '../ledger/log-contract.js'

const stream = noteStream()

t.test('A member of a group that was cut off for longer than its session', async t => {
  await t.test('has its partitions again, and goes on in each of them', async t => {
    for (let seed = 1; seed <= 20; seed++) {
      const world = new World()
      world.begin(seed)
      const broker = new Broker({
        turns: world.outside,
        random: new Random(seed),
        nowMs: () => world.nowMs,
        partitionsOf: () => 4,
        sessionMs: 6_000,
      })
      const node = world.host('n1', '10.0.0.1')
      const log = new SimulatedLog({ broker, turns: node, nodeName: 'n1', followerFailed (err) { throw err } })
      const follower = collector()
      log.follow(stream, 'group', follower)
      await world.run(3_000)
      broker.cutOff(node)
      await world.run(20_000)
      broker.heal() // and all that it has said of itself meanwhile arrives
      await world.run(3_000)
      for (let partition = 0; partition < 4; partition++) log.append(stream, partition, [note('later')])
      await world.run(1_000)
      const got = [0, 1, 2, 3].map(partition => follower.texts(partition))
      t.strictSame(got, [['later'], ['later'], ['later'], ['later']], `seed ${seed}`)
    }
  })
})
