import type { FastifyInstance } from 'fastify'

/** One copy, made once: it is open to everybody, and takes as long to make as a hundred requests. */
export function openApiRoute (app: FastifyInstance): void {
  let document: Buffer | undefined
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    document ??= Buffer.from(JSON.stringify(app.swagger()))
    return await reply.type('application/json; charset=utf-8').send(document)
  })
}

/** What `@fastify/swagger` makes the document with. */
export function openApi (version: string) {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Ledgerline',
        version,
        description: 'What business services and operators ask of a gateway. Clients speak docs/protocol.md.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: { securitySchemes: { apiKey: { type: 'http' as const, scheme: 'bearer' } } },
      security: [{ apiKey: [] }],
    },
    refResolver: {
      buildLocalReference: (json: { $id?: unknown }, _base: unknown, _fragment: string, i: number) =>
        typeof json.$id === 'string' ? json.$id : `def-${i}`,
    },
  }
}
