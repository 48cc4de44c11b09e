/** What a key may be good for (docs/operations.md, API keys). None has another one in it. */
export const scopes = ['push', 'read', 'operate', 'admin'] as const
export type Scope = typeof scopes[number]
