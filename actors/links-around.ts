import type { AskAck } from './group-links.js'
import type { Answer, ConnectionMessage, Links, Question, Traced } from './links.js'
import type { AskMembers, RoomMessage, RoomQuestion } from './room-links.js'

/** Hands everything on to other links: what does more with some of it extends this. */
export class LinksAround implements Links {
  readonly #links: Links

  constructor (links: Links) { this.#links = links }

  mayLose (nodeId: string): boolean { return this.#links.mayLose(nodeId) }
  toConnection (message: ConnectionMessage): void { this.#links.toConnection(message) }
  toUser (question: Question): void { this.#links.toUser(question) }
  toRoom (question: RoomQuestion): void { this.#links.toRoom(question) }
  toMembers (message: RoomMessage | AskMembers): void { this.#links.toMembers(message) }
  toReaders (message: AskAck): void { this.#links.toReaders(message) }
  toTracer (message: Traced): void { this.#links.toTracer(message) }
  toAsker (answer: Answer): void { this.#links.toAsker(answer) }
}
