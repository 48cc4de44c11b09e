/** Changes, drops, repeats or inserts a few bytes; the same ones for the same seed. */
export function mutate (seed: number): (original: Buffer) => Buffer {
  const random = mulberry32(seed)
  return original => {
    let changed = Buffer.from(original)
    for (let times = 1 + random(3); times > 0; times--) {
      const at = random(changed.length + 1)
      switch (random(4)) {
        case 0: changed = Buffer.concat([changed.subarray(0, at), changed.subarray(at + 1 + random(4))]); break
        case 1: changed = Buffer.concat([changed.subarray(0, at), changed.subarray(random(at + 1))]); break
        case 2: changed = Buffer.concat([changed.subarray(0, at), Buffer.alloc(1 + random(10), 0x80 | random(128)),
          changed.subarray(at)]); break
        default: if (at < changed.length) changed[at] = random(256)
      }
    }
    return changed
  }
}

/** Numbers from 0 to `below - 1`; the same ones for the same seed. */
export function mulberry32 (seed: number): (below: number) => number {
  return below => {
    seed = seed + 0x6d2b79f5 | 0
    let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) % below
  }
}
