import { readFileSync } from 'node:fs'
import type { Frame } from '../../schemas/frames.js'

/** One frame in every form that goes over a wire. */
export interface FrameVector {
  /** Its fields; a payload is a string, or { base64 }. */
  readonly frame: { readonly op: Frame['op'], readonly [field: string]: unknown }
  /** Hex: length, opcode, body. */
  readonly tcp: string
  /** Hex: opcode, body. */
  readonly webSocketAvro: string
  readonly webSocketJson: string
}

/** One line of a conversation: what a client sends, is sent, or what happens to it. */
export type Step =
  | { readonly client: Fields }
  | { readonly server: Fields }
  | { readonly connection: 'lost' | 'closed' | 'moved to the other' }
  | { readonly app: 'sends' | 'is told' | 'has the token' | 'joins' | 'posts', readonly what: any }

type Fields = { readonly op: Frame['op'], readonly [field: string]: unknown }

export interface Conversation {
  readonly name: string
  readonly why: string
  readonly heartbeat?: 'adaptive'
  readonly steps: readonly Step[]
}

export interface Conversations {
  /** Fields that a frame has where a step leaves them out, by op. */
  readonly defaults: { readonly [op: string]: object }
  readonly conversations: readonly Conversation[]
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`../../../test/vectors/${name}`, import.meta.url), 'utf8'))

export const frameVectors: readonly FrameVector[] = read('frames.json')
export const conversations: Conversations = read('conversations.json')

/** The frame of a vector, with its payload as bytes. */
export function frameOf (fields: { readonly [field: string]: unknown }): Frame {
  const { payload } = fields
  if (payload === undefined) return fields as unknown as Frame
  const bytes = typeof payload === 'string'
    ? Buffer.from(payload)
    : Buffer.from((payload as { base64: string }).base64, 'base64')
  return { ...fields, payload: bytes } as unknown as Frame
}

/** For docs/sdk-writers.md: every frame in its forms. */
export function framesMarkdown (): string {
  return frameVectors.map(({ tcp, webSocketJson }) =>
    `    ${webSocketJson}\n    ${tcp.slice(0, 8)} ${tcp.slice(8, 10)} ${tcp.slice(10)}\n`).join('\n')
}

/** For docs/sdk-writers.md: every conversation, a line a step. */
export function conversationsMarkdown (): string {
  return conversations.conversations.map(({ name, why, steps }) =>
    [`### ${name}`, '', why, '', ...steps.map(step => `    ${lineOf(step)}`), ''].join('\n')).join('\n')
}

function lineOf (step: Step): string {
  if ('client' in step) return `C > ${JSON.stringify(step.client)}`
  if ('server' in step) return `S < ${JSON.stringify(step.server)}`
  if ('connection' in step) return `  - the connection is ${step.connection}`
  return `  * the application ${step.app} ${JSON.stringify(step.what)}`
}
