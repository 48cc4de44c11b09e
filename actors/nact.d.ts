/** What is used of nact besides its public names. It has no types for them; the version is pinned for them. */

declare module 'nact/lib/actor.js' {
  export class Actor {
    constructor (...args: unknown[])
    readonly name: string
    readonly parent: { readonly childReferences: Map<string, unknown> }
    stopped: boolean
    busy: boolean
    children: ReadonlyMap<string, unknown>
    childReferences: ReadonlyMap<string, unknown>
    reference: object
    path: object
    /** Only `push`, `shift` and `toArray` are called. */
    mailbox: object
    immediate: NodeJS.Immediate | undefined
    dispatch (message: unknown, sender: unknown): void
    stop (): void
    processNext (): void
    createContext (sender: unknown): object
    afterMessage (): void
  }
}

declare module 'nact/lib/system-map.js' {
  const systemMap: { applyOrThrowIfStopped<T> (reference: unknown, use: (system: unknown) => T): T }
  export default systemMap
}
