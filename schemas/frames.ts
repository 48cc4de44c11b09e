/** The frames of protocol.md 2, as TypeScript sees them; `frames/*.avsc` is their Avro form. `op` is the JSON name. */
export type Frame = ClientFrame | ServerFrame

export type ClientFrame = Connect | Uplink | DownlinkAck | DownlinkSkipped | Ping | Token | Join | Leave | Disconnect
export type ServerFrame =
  | Connected | UplinkAck | UplinkRefused | Downlink | Pong | Signal | Migrate | Redirect | Kick | ErrorFrame
  | TokenAccepted | Joined | Left | Post

export interface Connect {
  readonly op: 'connect'
  readonly token: string
  readonly deviceId: string
  readonly platform: string
  readonly client: string
  readonly sessionId: string
  readonly downlinkSeq: number
}
export interface Connected {
  readonly op: 'connected'
  readonly connectionId: string
  readonly nodeId: string
  readonly userId: string
  readonly resumed: boolean
  readonly uplinkSeq: number
  readonly downlinkSeq: number
  readonly missed: number
  readonly heartbeatMs: number
  readonly uplinkWindow: number
  readonly frameBytesMax: number
  readonly serverTimeMs: number
}
export interface Uplink {
  readonly op: 'uplink'
  readonly seq: number
  readonly service: string
  readonly payload: Uint8Array
  readonly priority: number
  /** The room that it is also a post in; empty for none. */
  readonly roomId: string
}
export interface UplinkAck { readonly op: 'uplinkAck', readonly seq: number, readonly userSeqs: readonly number[] }
export interface UplinkRefused {
  readonly op: 'uplinkRefused'
  readonly expectedSeq: number
  readonly code: string
  readonly retryAfterMs: number
}
export interface Downlink {
  readonly op: 'downlink'
  readonly seq: number
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  readonly requestedAtMs: number
}
export interface DownlinkAck { readonly op: 'downlinkAck', readonly seq: number }
export interface Ping { readonly op: 'ping', readonly downlinkSeq: number, readonly silentMs: number }
export interface Pong { readonly op: 'pong', readonly uplinkSeq: number }
export interface Signal {
  readonly op: 'signal'
  readonly service: string
  readonly payload: Uint8Array
  /** Of a signal to the members of a room; empty for one to the user. */
  readonly roomId: string
}
export interface Migrate {
  readonly op: 'migrate'
  readonly withinMs: number
  readonly endpoints: readonly string[]
  readonly reason: string
}
export interface Redirect {
  readonly op: 'redirect'
  readonly endpoints: readonly string[]
  readonly retryAfterMs: number
  readonly code: string
}
export interface Kick { readonly op: 'kick', readonly code: string, readonly reason: string }
export interface ErrorFrame {
  readonly op: 'error'
  readonly code: string
  readonly message: string
  readonly retryAfterMs: number
}
export interface Disconnect { readonly op: 'disconnect', readonly endSession: boolean }
export interface Token { readonly op: 'token', readonly token: string }
export interface TokenAccepted { readonly op: 'tokenAccepted', readonly expiresAtMs: number }
export interface DownlinkSkipped { readonly op: 'downlinkSkipped', readonly seq: number, readonly reason: string }
export interface Join { readonly op: 'join', readonly roomId: string, readonly roomSeq: number }
export interface Joined { readonly op: 'joined', readonly roomId: string, readonly roomSeq: number, readonly missed: number }
export interface Leave { readonly op: 'leave', readonly roomId: string }
export interface Left { readonly op: 'left', readonly roomId: string, readonly code: string, readonly reason: string }
export interface Post {
  readonly op: 'post'
  readonly roomId: string
  readonly roomSeq: number
  readonly messageId: string
  /** User id of whoever posted it; empty for business. */
  readonly from: string
  readonly service: string
  readonly payload: Uint8Array
  readonly postedAtMs: number
}
