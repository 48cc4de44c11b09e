export interface Address { readonly host: string, readonly port: number }

/** @throws RangeError when `text` is not HOST:PORT */
export function parseAddress (text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  if (!match) throw new RangeError(`Kafka broker: got ${JSON.stringify(text)}, want HOST:PORT`)
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) }
}

export function nameOf ({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
