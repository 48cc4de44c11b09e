/** Numbers from 0 up to but without 1, the same for the same seed: mulberry32. */
export function seeded (seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A time to the next event of a steady stream of them. */
export function exponential (random, mean) { return -mean * Math.log(1 - random()) }
