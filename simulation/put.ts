/** Puts these in the place of what an object of Node itself has. */
export function put (object: object, properties: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(properties)) {
    Object.defineProperty(object, name, { value, configurable: true, writable: true, enumerable: true })
  }
}
