/*
  Reads the ledger of a data directory from its first entry to its last and folds every user, as a node does that takes
  over without any snapshot. Prints one JSON line.

    node replay.js DATA_DIRECTORY
*/

/** The only place that knows the product's modules. */
async function openProduct (directory) {
  const [{ openStore }, { embeddedLog }, { ledger }, { fold }, { newUser }] = await Promise.all([
    import('../dist/ledger/embedded/store.js'),
    import('../dist/ledger/embedded/log.js'),
    import('../dist/schemas/streams.js'),
    import('../dist/actors/user/fold.js'),
    import('../dist/actors/user/state.js'),
  ])
  const store = await openStore({ directory })
  return { log: embeddedLog(store), close: () => store.close(), ledger, fold, newUser }
}

try {
  console.log(JSON.stringify(await replay(await openProduct(process.argv[2]))))
} catch (err) {
  console.error(err.message)
  process.exitCode = 1
}

async function replay ({ log, close, ledger, fold, newUser }) {
  const users = new Map()
  let entries = 0
  let effects = 0
  const startMs = performance.now()
  for (let partition = 0; partition < log.partitions(ledger); partition++) {
    for await (const { items } of log.read(ledger, partition, { from: 0n })) {
      for (const entry of items) {
        let state = users.get(entry.userId)
        if (!state) users.set(entry.userId, state = newUser())
        effects += fold(state, entry).length
      }
      entries += items.length
    }
  }
  const seconds = (performance.now() - startMs) / 1000
  await close()
  return { perSecond: entries / seconds, entries, users: users.size, effects, seconds }
}
