export interface Stage {
  readonly image: string
  readonly name: string | undefined
  readonly copies: readonly Copy[]
  readonly runs: readonly string[]
}

export interface Copy {
  /** The stage that it is from; undefined: the folder that is built. */
  readonly stage: string | undefined
  readonly from: readonly string[]
  readonly to: string
}

/** The stages of a Dockerfile, as far as they copy and run. */
export function instructionsOf (text: string): Stage[] {
  const stages: Array<{ image: string, name: string | undefined, copies: Copy[], runs: string[] }> = []
  const lines = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll('\\\n', ' ').split('\n')
  for (const line of lines) {
    const [instruction, ...rest] = line.trim().split(/\s+/)
    if (instruction === 'FROM') stages.push({ image: rest[0]!, name: rest[2], copies: [], runs: [] })
    if (instruction === 'RUN') stages.at(-1)!.runs.push(rest.join(' '))
    if (instruction !== 'COPY') continue
    const stage = rest.find(word => word.startsWith('--from='))?.slice('--from='.length)
    const paths = rest.filter(word => !word.startsWith('--'))
    stages.at(-1)!.copies.push({ stage, from: paths.slice(0, -1), to: paths.at(-1)! })
  }
  return stages
}

/** @returns whether a path of the folder that is built is one that `.dockerignore` leaves out */
export function ignoredBy (text: string): (path: string) => boolean {
  const patterns = text.split('\n').filter(line => line !== '' && !line.startsWith('#')).map(pattern => {
    const [, anywhere, name] = /^(\*\*\/)?(.*)$/.exec(pattern)!
    const segments = name!.replaceAll('.', '\\.').replaceAll('*', '[^/]*')
    return new RegExp(`^${anywhere === undefined ? '' : '(.*/)?'}${segments}(/|$)`)
  })
  return path => patterns.some(pattern => pattern.test(path))
}
