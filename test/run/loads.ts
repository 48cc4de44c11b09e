import type { Load } from './schedule.js'

/*
  What files take that take long, or little, or all. `main.js` prints the two figures of each behind its name; they are
  only rough here, and say who may run beside whom, and who begins first. Each file has ports, directories, topics,
  brokers, firewall rules, file systems and times of day of its own: what they share is the machine alone.
*/
export const loads: Readonly<Record<string, Load>> = {
  // Where the machine itself is what is looked at, or what is filled.
  'faults/herd.long': { seconds: 18, alone: '5,000 clients at once overflow the queues of a kernel that has more to do' },
  'faults/memory.long': { seconds: 51, alone: 'it floods nodes, and looks at their memory' },
  'faults/greedy-clients.long': { seconds: 135, alone: 'it floods nodes, and looks at their memory' },
  'faults/overload.long': { seconds: 24, alone: 'a node that knows when it waits for a processor is to be well again' },
  'faults/crowded-room.long': { seconds: 110, alone: 'it has 15,000 clients, and looks at the memory' },
  'faults/hot-room.long': { seconds: 24, alone: '10,000 posts a second are nearly all that a machine takes' },
  'faults/deaf-clients.long': { seconds: 17, alone: 'it fills the queues of 200 clients, and looks at the memory' },

  // What only computes.
  'simulation/seeds.long': { seconds: 50, background: true },
  'simulation/failures.long': { seconds: 90, background: true },
  'gateway/http/large-block.long': { seconds: 3, background: true },

  // What waits nearly all the time: for proxies, deadlines, pauses of a store.
  'client/idle.long': { seconds: 131, cores: 0.1 },
  'faults/slow-disk.long': { seconds: 24, cores: 0.2 },
  'gateway/drain.test': { seconds: 60, cores: 0.2 },
  'ledger/kafka-membership.test': { seconds: 50, cores: 0.2 },
  'evidence/causes/met.test': { seconds: 60, cores: 0.3 },
  'gateway/edge/liveness.test': { seconds: 50, cores: 0.3 },
  'faults/header-floods.long': { seconds: 69, cores: 0.5 },
  'bench/builds.long': { seconds: 112, cores: 0.9 },

  // Clusters of five nodes, with their Kafka and Redis, and clients that never rest.
  'faults/moves.long': { seconds: 190, cores: 1.2 },
  'faults/nodes.long': { seconds: 150, cores: 0.7 },
  'faults/kafka.long': { seconds: 130, cores: 0.5 },
  'faults/away.long': { seconds: 100, cores: 0.6 },
  'faults/drain.long': { seconds: 92, cores: 1.2 },
  'faults/room-jitter.long': { seconds: 90, cores: 1.2 },
  'faults/redis.long': { seconds: 60, cores: 0.6 },
  'faults/three-brokers.long': { seconds: 54, cores: 0.9 },
  'client/drain.long': { seconds: 50, cores: 1.2 },
  'faults/promoted-redis.long': { seconds: 47, cores: 0.7 },

  // They install and build what people build.
  'packages/tools.long': { seconds: 200 },
  'deploy/dockerfile.long': { seconds: 90 },

  'faults/moves-embedded.long': { seconds: 75, cores: 0.7 },
  'cluster/frozen-stores.long': { seconds: 39 },
  'faults/slow-redis.long': { seconds: 33, cores: 0.3 },
  'faults/waiting-bytes.long': { seconds: 60 },
  'faults/office.long': { seconds: 31 },
  'faults/slow-feeders.long': { seconds: 30, cores: 0.5 },
  'ledger/kafka-cut-back.long': { seconds: 25 },
  'faults/cut-back.long': { seconds: 25 },
  'gateway/edge/fuzz.long': { seconds: 18, cores: 1.5 },

  'cli/start.test': { seconds: 40 },
  'ledger/kafka-faults.test': { seconds: 39, cores: 1.2 },
  'evidence/history-export.test': { seconds: 30 },
  'evidence/history-streams.test': { seconds: 30 },
  'cli/time-travel.test': { seconds: 30 },
  'faults/disk-full.test': { seconds: 30 },
  'faults/kill.test': { seconds: 30, cores: 1.2 },
  'client/gateway.test': { seconds: 30 },
  'cluster/servers.test': { seconds: 29, cores: 0.9 },
  'gateway/lifecycle.test': { seconds: 26 },
  'packages/service.test': { seconds: 25 },
  'cli/keys.test': { seconds: 25 },
  'cli/commands.test': { seconds: 25 },
  'ledger/kafka-security.test': { seconds: 24 },
  'gateway/backup.test': { seconds: 23 },
  'cluster/secure.test': { seconds: 22 },
  'client/browser.test': { seconds: 22 },
  'cluster/ledger-cut.test': { seconds: 21 },
  'client/page-trouble.test': { seconds: 20 },
  'ledger/kafka-turns.test': { seconds: 20 },
  'ledger/kafka-public.test': { seconds: 20 },
}
