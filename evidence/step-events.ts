/** What a step of a trace may be; docs/debugging.md says of each what happened. */
export const stepEvents = [
  'requested', 'waiting', 'queued', 'sent', 'written', 'acked', 'skipped', 'connection-ended', 'expired', 'dropped',
  'duplicate', 'replaced', 'recalled', 'redelivered', 'handed-over', 'withdrawn',
  'received', 'accepted', 'refused', 'gap', 'connection-replaced', 'session-replaced', 'session-ended',
  'opened', 'resumed', 'welcomed', 'told-to-end', 'uplinks', 'downlinks', 'ended', 'succeeded', 'room-granted', 'room-revoked',
  'numbered', 'published', 'delivered', 'closed', 'node-left', 'node-lost',
  'granted', 'revoked', 'forgotten',
  'set-aside',
] as const
export type StepEvent = typeof stepEvents[number]
